"""The child process of `mongodb`: nx-27017 until its parent ends it or is gone.

It imports nothing of this package, so that it can be run by its path from any folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from pathlib import Path

from nx_27017.nx_27017 import main


def end_with_parent(pid_file: Path) -> None:
    """Wait for the parent's end of the pipe to close, then end this process at once.

    Nothing is lost, for what a client was told is written is in SQLite's files. nx-27017 ends
    itself by an exception out of a signal handler instead, which is lost if a destructor runs.
    """
    os.read(sys.stdin.fileno(), 1)
    pid_file.unlink(missing_ok=True)
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--pid-file", type=Path, required=True)
    pid_file = parser.parse_known_args()[0].pid_file
    threading.Thread(target=end_with_parent, args=(pid_file,), daemon=True).start()
    logging.disable(logging.INFO)  # it logs every command
    main()
