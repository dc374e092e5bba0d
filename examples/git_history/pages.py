"""Serves the history pages on this machine, and says where to look first."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import uvicorn

import audit_ui
from audit_ui.links import Links
from examples.git_history.errors import ExampleError
from examples.git_history.models import COMMIT, FILE, File
from examples.git_history.workspace import Workspace
from lifecycle import Lifecycle

HOST = "127.0.0.1"
_RECORDS_SEARCHED = 5_000


def open_port(port: int) -> socket.socket:
    """A socket that listens on this port. Raises ``ExampleError`` when it is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"is closed to us ({error})"
        raise ExampleError(
            f"port {port} {why}: choose another one with --port, or make demo PORT=…"
        ) from error
    return listener


def serve(workspace: Workspace, listener: socket.socket) -> None:
    """Serve until Ctrl-C."""
    root = f"http://{HOST}:{listener.getsockname()[1]}/"
    places = list(_places(workspace.lifecycle, Links(root, {})))
    width = max(len(what) for what, _ in places)
    for what, address in places:
        print(f"  {what:<{width}}  {address}")
    print("Ctrl-C ends it.", flush=True)
    app = audit_ui.create_app(workspace.lifecycle, local_only=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


def _places(lifecycle: Lifecycle, links: Links) -> Iterator[tuple[str, str]]:
    """What to look at: real records of this log."""
    yield "everything, newest first", links.feed()
    largest = Counter(
        record.revision.id for record in islice(lifecycle.history.find(File), _RECORDS_SEARCHED)
    )
    for revision, files in largest.most_common(1):
        yield f"a commit of {files:,} files", links.revision(revision)
    for record in islice(lifecycle.history.find(), 1):
        if record.actor:
            yield f"all by {record.revision.actor_label or record.actor}", links.actor(record.actor)
        if record.entity == COMMIT:
            yield "the last commit's document", links.object(COMMIT, record.key)
    updates = islice(lifecycle.history.find(File, operation="update"), _RECORDS_SEARCHED)
    for record in islice((one for one in updates if one.former_key is not None), 1):
        yield "a file that was renamed", links.object(FILE, record.key)
    for record in islice(lifecycle.history.find(File, operation="delete"), 1):
        yield "a file that is gone", links.object(FILE, record.key)
