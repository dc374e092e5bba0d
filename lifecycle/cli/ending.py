"""How a command ends that somebody interrupts, or whose reader has gone."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

__all__ = ["INTERRUPTED", "UNREAD", "Ending"]

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it for a program that SIGINT ended."""

UNREAD: Final = 141
"""The exit code when the output is not read to its end, as by ``head``: that of SIGPIPE."""


class Ending(click.Group):
    """A group of commands that end in one line, or quietly, and with the exit code for it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(
                "Interrupted. What was done by then stays; run it again to go on.",
                err=True,
            )
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # What is still buffered has nobody to go to, and Python would complain at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(UNREAD)
