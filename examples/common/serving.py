"""Serves an example's pages on this machine alone."""

from __future__ import annotations

import errno
import socket
from typing import Any

import uvicorn

from examples.common.errors import ExampleError

_HOST = "127.0.0.1"


def open_port(port: int) -> socket.socket:
    """A socket that listens on this port. Raises ``ExampleError`` when it is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"is closed to us ({error})"
        raise ExampleError(
            f"port {port} {why}: choose another one with --port, or make demo PORT=…"
        ) from error
    return listener


def root_of(listener: socket.socket) -> str:
    """The address of what is served there, without a slash at its end."""
    return f"http://{_HOST}:{listener.getsockname()[1]}"


def serve(app: Any, listener: socket.socket) -> None:
    """Serve an ASGI application until Ctrl-C, which ends it without an error."""
    print("Ctrl-C ends it.", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        print("\nEnded.")
