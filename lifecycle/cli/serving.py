"""Serving the history pages from the command line."""

from __future__ import annotations

import socket
from contextlib import suppress
from getpass import getuser
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

from lifecycle.audit.store import AuditStore
from lifecycle.plugin import Lifecycle

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["is_loopback", "listener", "pages", "serve"]


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine and nobody else reaches it."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def listener(host: str, port: int) -> socket.socket:
    """A socket that listens there; a ``ClickException`` when it cannot."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except OSError as error:
        cause = str(error.strerror).partition(" (while")[0]
        raise click.ClickException(
            f"the pages cannot be served at {host}:{port}: {cause}; "
            "choose another --port, or 0 for any that is free"
        ) from error


def pages(source: AuditStore | Lifecycle, *, local_only: bool, restore: bool = False) -> ASGIApp:
    """The pages of a store or an application, which put things back as whoever runs the command.

    A ``ClickException`` when a package they need is not installed.
    """
    try:
        import uvicorn  # noqa: F401  (asked here, before anything is promised)

        from audit_ui import create_app
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"the pages need {error.name}; run: pip install 'lifecycle-audit[cli,ui]'"
        ) from error
    return create_app(
        source,
        access=None if local_only else _anyone,
        local_only=local_only,
        restore=restore,
        actor=lambda user: getuser(),
    )


def _anyone(user: object, action: str, subject: object) -> bool:
    return True


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serve an application until Ctrl-C."""
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    with suppress(KeyboardInterrupt):  # uvicorn has ended by then, and says it once more
        uvicorn.Server(config).run(sockets=[listening])
