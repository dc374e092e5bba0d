"""The databases of a replay."""

from __future__ import annotations

from contextlib import AbstractContextManager

from examples.common.databases import Databases, recorded
from examples.git_history.models import Base


def open_workspace(database: str, mongodb: str) -> AbstractContextManager[Databases]:
    """The databases at these two URLs, with the tables of this example.

    Raises ``DatabaseError`` for a database that cannot be reached.
    """
    return recorded(database, mongodb, Base.metadata, "git_history")
