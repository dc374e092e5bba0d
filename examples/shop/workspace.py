"""The databases of the shop."""

from __future__ import annotations

from contextlib import AbstractContextManager

from examples.common.databases import Databases, recorded
from examples.shop.models import Base


def open_shop(database: str, mongodb: str) -> AbstractContextManager[Databases]:
    """The shop in these databases, with its tables.

    Raises ``DatabaseError`` for a database that cannot be reached.
    """
    return recorded(database, mongodb, Base.metadata, "shop")
