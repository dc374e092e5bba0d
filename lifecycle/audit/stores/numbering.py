"""What stores refuse before they write."""

from __future__ import annotations

from collections.abc import Sequence

from lifecycle.audit.records import Record, Revision
from lifecycle.errors import StoreError

__all__ = ["refuse_twins"]


def refuse_twins(revision: Revision, records: Sequence[Record]) -> None:
    """Raise ``StoreError`` when two records of a revision have the same number."""
    numbers = [record.n for record in records]
    if len(set(numbers)) < len(numbers):
        raise StoreError(
            f"revision {revision.id} was not stored: two of its records have the same n "
            f"({numbers}); number them 0, 1, 2, …"
        )
