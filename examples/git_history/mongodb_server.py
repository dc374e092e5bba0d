"""The child process of `mongodb`: nx-27017 until it is told to end or its parent is gone.

It imports nothing of this package, so that it can be run by its path from any folder.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from nx_27017.nx_27017 import main


def end_with_parent() -> None:
    """Wait for the parent's end of the pipe to close, then end this process in order."""
    os.read(sys.stdin.fileno(), 1)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    logging.disable(logging.INFO)  # it logs every command
    main()
