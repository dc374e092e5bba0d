"""The `lifecycle` command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; without click, say in one line what is missing, and exit with 1."""
    try:
        import click  # noqa: F401  (asked here, so that the answer is not a traceback)
    except ModuleNotFoundError:
        sys.exit("lifecycle: the command line needs click; run: pip install 'lifecycle-audit[cli]'")
    from lifecycle.cli.commands import lifecycle

    lifecycle(prog_name="lifecycle")
