"""Making a write so that what it did to every document is known.

It returns and raises what the write itself does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lifecycle.errors import RecordingError, StoreError
from lifecycle.mappers.mongoengine import inserting, portions, several, single
from lifecycle.mappers.mongoengine.asking import Asked, leaves_doubt

__all__ = ["capture"]

_OF_MANY: Final = frozenset({"delete_many", "update_many"})

_METHODS: Final[Mapping[str, Callable[[Asked], Any]]] = {
    "bulk_write": several.bulk_write,
    "delete_many": portions.delete_many,
    "delete_one": single.delete_one,
    "find_one_and_delete": single.find_one_and_delete,
    "find_one_and_replace": single.find_one_and_replace,
    "find_one_and_update": single.find_one_and_update,
    "insert_many": inserting.insert_many,
    "insert_one": inserting.insert_one,
    "replace_one": single.replace_one,
    "update_many": portions.update_many,
    "update_one": single.update_one,
}


_OF_ONE: Final = frozenset(_METHODS) - {"bulk_write", "insert_many", "insert_one"} - _OF_MANY


def capture(asked: Asked) -> Any:
    """Make a write, and tell what it did to which documents; returns what it returns."""
    if not asked.collection.write_concern.acknowledged:
        result = asked.make()
        asked.taker.miss("the server was not asked to acknowledge it")
        return result
    try:
        if asked.name in _OF_ONE and asked.taker.intends:
            single.announce(asked)
        result = _METHODS[asked.name](asked)
    except BaseException as error:
        # What is written and could not be recorded is left to be settled, too.
        if not (leaves_doubt(error) or isinstance(error, RecordingError | StoreError)):
            asked.taker.withdraw()
        raise
    asked.taker.withdraw()
    return result
