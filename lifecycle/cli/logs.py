"""Which log a command is about, that of a URL or of an application, and how it answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import click
import msgspec

from lifecycle.audit.store import AuditStore
from lifecycle.audit.stores.opening import DatabaseStore, opened_store
from lifecycle.errors import ConfigurationError, LifecycleError
from lifecycle.plugin import Lifecycle

__all__ = [
    "FOUND",
    "a_log",
    "agreed",
    "an_application",
    "as_lines",
    "counting",
    "store_at",
    "text_of",
    "the_store",
    "told",
    "url",
]

FOUND: Final = 3
"""The exit code of a command that found what it was to look for."""

_UNREACHABLE: Final = {
    "pymongo.errors.ConnectionFailure",
    "sqlalchemy.exc.InterfaceError",
    "sqlalchemy.exc.OperationalError",
}
"""What drivers raise of databases that do not answer; the command imports none of them."""

F = TypeVar("F", bound=Callable[..., Any])


def store_at(context: click.Context, parameter: click.Parameter, url: str) -> DatabaseStore:
    """The store at a URL, closed with the command."""
    try:
        store = opened_store(url)
    except ConfigurationError as error:
        raise click.BadParameter(str(error), context, parameter) from error
    if store.in_memory:
        raise click.BadParameter(
            f"{store.url} is a database in the memory of the process that opens it: give the URL "
            "of a file or a server",
            context,
            parameter,
        )
    context.call_on_close(store.close)
    return store


def _application(context: click.Context, parameter: click.Parameter, name: str | None) -> Any:
    """The Lifecycle that ``module:attribute`` names."""
    if not name:
        return None
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise click.BadParameter(f"{name!r} names no Lifecycle: write module:attribute", context)
    sys.path.insert(0, os.getcwd())  # as `python -m` does
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise click.BadParameter(f"{name!r} cannot be loaded: {error}", context) from error
    finally:
        sys.path.remove(os.getcwd())
    if not isinstance(found, Lifecycle):
        raise click.BadParameter(f"{name!r} is {found!r}, which is no Lifecycle", context)
    return found


def url(context: click.Context, parameter: click.Parameter, url: str | None) -> Any:
    """The store at a URL, if one was given."""
    return None if url is None else store_at(context, parameter, url)


def an_application(command: F) -> F:
    """Give a command the Lifecycle of an application."""
    return click.option(
        "--app",
        metavar="MODULE:NAME",
        envvar="LIFECYCLE_APP",
        callback=_application,
        help="The application's Lifecycle; or set LIFECYCLE_APP.",
    )(command)


def a_log(command: F) -> F:
    """Give a command the URL of a log, or an application's Lifecycle, and ``--json``."""
    for decorate in (
        an_application,
        click.option("--json", "json", is_flag=True, help="Answer with one JSON object."),
        click.argument("store", metavar="[URL]", required=False, callback=url),
    ):
        command = decorate(command)
    return command


def the_store(store: AuditStore | None, app: Lifecycle | None) -> AuditStore:
    """The store to work on, which can be read."""
    found = app.store if store is None and app is not None else store
    if found is None:
        raise click.UsageError("whose log? give its URL, or --app module:lifecycle")
    found.check()
    return found


@contextmanager
def told() -> Iterator[None]:
    """Say what went wrong, without a traceback."""
    try:
        yield
    except (LifecycleError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    except Exception as error:
        if _UNREACHABLE.isdisjoint(f"{one.__module__}.{one.__name__}" for one in type(error).mro()):
            raise
        said = str(getattr(error, "orig", None) or error).partition(", Timeout:")[0]
        raise click.ClickException(
            f"a database of the application failed: {' '.join(said.split())}; check that it runs, "
            "and the address that the application has for it"
        ) from error


def text_of(file: str | Path, read: Callable[[], str]) -> str:
    """What a text file has. Raises ``ClickException``, which names the file, when it is none."""
    try:
        return read()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file} cannot be read as text: {error}") from error


def agreed(question: str, yes: bool) -> None:
    """Ask before something is done, unless it was agreed to when the command was given.

    Raises ``UsageError`` where nobody is there to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: give --yes, or --dry-run to look at it")
    click.confirm(question, abort=True, err=True)


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far a long work has come."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    if total:
        with click.progressbar(length=total, label=what, file=sys.stderr) as bar:
            yield bar.update
        return
    count, shown = 0, monotonic()

    def count_on(done: int) -> None:
        nonlocal count, shown
        count += done
        if monotonic() - shown > 0.1:
            shown = monotonic()
            click.echo(f"\r{what}: {count:,}", err=True, nl=False)

    try:
        yield count_on
    finally:
        click.echo("\r\033[K", err=True, nl=False)


def as_lines(answer: Any, json: bool, *lines: str) -> None:
    """Print an answer: as JSON, or in words, with what could steer a terminal escaped."""
    if json:
        click.echo(msgspec.json.encode(answer).decode())
    else:
        for line in lines:
            click.echo("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))
