"""SQLAlchemy's error for a row that is not as it was loaded, as ours."""

from __future__ import annotations

import sys

from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.exc import StaleDataError

from lifecycle.errors import StaleVersion
from lifecycle.mappers.sqlalchemy.models import configured_mappers
from lifecycle.versioning import version_of

__all__ = ["StaleRow", "call_stale"]


class StaleRow(StaleVersion, StaleDataError):
    """A row is not the version that was loaded: SQLAlchemy's error, and ours."""


def call_stale(session: Session, transaction: SessionTransaction) -> None:
    """Make the error that a flush of a `versioned` model is failing with one that is ours, too.

    No event of SQLAlchemy lets another error take its place, so it becomes an instance of both.
    """
    error = sys.exception()
    if type(error) is StaleDataError and any(
        f"on table '{table}'" in error.args[0] for table in _tables_with_versions()
    ):
        error.__class__ = StaleRow
        error.args = (
            f"{error.args[0]} Somebody else has changed or deleted it since it was loaded, so "
            "nothing was written: load it again",
        )


def _tables_with_versions() -> set[str]:
    """The names, as SQLAlchemy's error has them, of the tables of `versioned` models."""
    return {
        table.description
        for mapper in configured_mappers()
        if version_of(mapper.class_) is not None
        for table in mapper.tables
    }
