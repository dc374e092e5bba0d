"""SQLAlchemy's error for a row that is not as it was loaded, as ours."""

from __future__ import annotations

import sys

from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.exc import StaleDataError

from lifecycle.errors import StaleVersion

__all__ = ["StaleRow", "call_stale"]


class StaleRow(StaleVersion, StaleDataError):
    """A row is not the version that was loaded: SQLAlchemy's error, and ours."""


def call_stale(session: Session, transaction: SessionTransaction) -> None:
    """Make the error that a flush is failing with one that is ours, too.

    No event of SQLAlchemy lets another error take its place, so it becomes an instance of both.
    """
    error = sys.exception()
    if type(error) is StaleDataError:
        error.__class__ = StaleRow
        error.args = (
            f"{error.args[0]} Somebody else has changed or deleted it since it was loaded, so "
            "nothing was written: load it again",
        )
