"""Finding the log that a command is about: in a store by its URL, or through an application."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import click

from lifecycle.audit.history import History, When
from lifecycle.audit.names import literal_key
from lifecycle.audit.records import Record, Revision
from lifecycle.audit.store import AuditStore
from lifecycle.cli.logs import an_application, the_store, told, url
from lifecycle.errors import HistoryError
from lifecycle.plugin import Lifecycle
from lifecycle.relations import Relation

__all__ = ["FromLog", "Log", "from_log", "moment"]

F = TypeVar("F", bound=Callable[..., Any])

_NAMED: Final = 20  # entities named when one was not found


@dataclass(frozen=True)
class Log:
    """A log, and the application's Lifecycle where one was named."""

    store: AuditStore
    lifecycle: Lifecycle | None = None

    @property
    def name(self) -> str:
        """What to call it: its URL, without the password."""
        return str(getattr(self.store, "url", self.store))

    @property
    def history(self) -> History:
        """Questions to it; without an application models are known by name only."""
        if self.lifecycle is not None:
            return self.lifecycle.history
        return History(lambda: self.store, _ByName())

    def application(self) -> Lifecycle:
        """The application's Lifecycle, which writing takes."""
        if self.lifecycle is None:
            raise click.UsageError(
                "this writes to your models' objects, so it takes your application: name its "
                "Lifecycle with --app module:lifecycle, or in LIFECYCLE_APP"
            )
        return self.lifecycle

    def when(self, text: str) -> When:
        """A time in the log from its text: a time, a revision's id, or a record's."""
        record, _, n = text.partition(".")
        try:
            id = UUID(record)
        except ValueError:
            return moment(text)
        return self.record(text) if n else id

    def record(self, text: str) -> Record:
        """The record of an id. Raises ``HistoryError`` when there is none."""
        revision, _, n = text.partition(".")
        found = self.history.find(revision=revision)
        for record in found:
            if n == str(record.n):
                return record
        raise HistoryError(f"there is no record {text} in {self.name}")

    def revision_or_record(self, text: str) -> Revision | Record:
        """What an id is of."""
        return self.record(text) if "." in text else self.history.revision(text)

    def nothing_found(self, entity: str | None, key: str | None) -> str:
        """What to say when nothing was found of an object."""
        if entity is None:
            return f"no records match in {self.name}"
        entities = self.store.entities()
        if entity in entities:
            of = "no records that match" if key is None else f"no records for the key {key!r}"
            return f"{entity} has {of} in {self.name}"
        named = ", ".join(entities[:_NAMED]) + (", …" if len(entities) > _NAMED else "")
        there = named or "nothing"
        return f"no records of {entity!r} in {self.name}; there are records of: {there}"


class _ByName:
    """Models that are known by their names in the log only."""

    def entity(self, model: type | str) -> str:
        return model if isinstance(model, str) else model.__name__

    def key(self, model: type | str, identity: Any) -> str:
        return literal_key(identity)

    def subject(self, instance: Any) -> tuple[str, str]:
        raise HistoryError(f"{instance!r} is known to its application only")

    def entities(self) -> Iterable[str]:
        return ()

    def fields(self, entity: str) -> Collection[str]:
        return ()

    def relation(self, entity: str, name: str) -> Relation:
        raise HistoryError(
            f"where {name!r} of {entity} leads is known to its application only: name it with --app"
        )


class FromLog(click.Command):
    """A command about a log; the URL of its store may be given first, without an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for at, text in enumerate(args):
            if "://" in text and not text.startswith("-") and args[at - 1 : at] != ["--store"]:
                args = [*args[:at], *args[at + 1 :], "--store", text]
                break
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        options, *arguments = super().collect_usage_pieces(ctx)
        return [options, "[URL]", *arguments]


def from_log(command: F) -> F:
    """Give a command its `Log` as the first argument, from ``URL``, ``--store`` or ``--app``."""

    def with_log(*args: Any, store: Any, app: Any, **kwargs: Any) -> Any:
        with told():
            log = Log(the_store(store, app), app)
            return command(log, *args, **kwargs)

    with_log.__name__, with_log.__doc__ = command.__name__, command.__doc__
    with_log.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for decorate in (
        an_application,
        click.option(
            "--store",
            envvar="LIFECYCLE_STORE",
            show_envvar=True,
            metavar="URL",
            callback=url,
            help="The store, which is enough for reading; may come first, without --store.",
        ),
    ):
        with_log = decorate(with_log)
    return with_log  # type: ignore[return-value]


def moment(text: str) -> datetime:
    """An aware time from its text; one without a zone is of this machine's."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"{text!r} is no time: write 2026-11-21, 2026-11-21T14:30 or 2026-11-21T14:30+01:00"
        ) from None
    return found if found.tzinfo is not None else found.astimezone()
