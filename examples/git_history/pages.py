"""Serves the history pages on this machine, and says where to look first."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import audit_ui
from audit_ui.links import Links
from examples.common.databases import Databases
from examples.common.serving import root_of, serve
from examples.git_history.models import COMMIT, FILE, File
from lifecycle import Lifecycle

_RECORDS_SEARCHED = 5_000


def serve_history(workspace: Databases, listener: socket.socket) -> None:
    """Serve the history until Ctrl-C."""
    places = list(_places(workspace.lifecycle, Links(f"{root_of(listener)}/", {})))
    width = max(len(what) for what, _ in places)
    for what, address in places:
        print(f"  {what:<{width}}  {address}")
    serve(audit_ui.create_app(workspace.lifecycle, local_only=True), listener)


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
