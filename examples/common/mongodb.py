"""A MongoDB for the time of a run: nx-27017, which speaks its protocol over SQLite.

The server is a child process in a session of its own, so that Ctrl-C reaches only its parent. It
ends when the pipe from its parent closes, be it at the parent's will or because the parent was
killed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.common.errors import DatabaseError

_PROGRAM = Path(__file__).with_name("mongodb_server.py")
_STARTS_WITHIN = 30.0
_STOPS_WITHIN = 10.0


@contextmanager
def embedded_mongodb(folder: Path) -> Iterator[str]:
    """The URI of a server that keeps its data in ``folder`` and lives as long as the block.

    Raises ``DatabaseError`` when it does not start, as when another run uses the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    with (folder / "server.log").open("ab") as log, _server(folder, port, log.fileno()) as server:
        _await_start(server, port, folder)
        yield f"mongodb://127.0.0.1:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _server(folder: Path, port: int, log: int) -> Iterator[subprocess.Popen[bytes]]:
    options = {"data-dir": folder, "pid-file": folder / "server.pid", "log-file": os.devnull}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with subprocess.Popen(
        # -P: else the modules beside the script would hide others of the same names.
        [sys.executable, "-P", _PROGRAM, f"--port={port}", *arguments],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    ) as server:
        try:
            yield server
        finally:
            assert server.stdin is not None
            server.stdin.close()
            try:
                server.wait(_STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                server.kill()


def _await_start(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    said = (folder / "server.log").read_text("utf-8", "replace").strip().rpartition("\n")[2]
    raise DatabaseError(
        f"nx-27017 did not start in {folder}: {said.rpartition(' - ')[2] or 'no reason given'}; "
        "end the other run that uses this folder, choose another one with --data, "
        "or name a MongoDB with --mongodb or MONGODB_URI"
    )
