"""What a statement that writes is about, and what it is called in messages."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import CTE, Alias, Delete, Insert, Join, Select, Table, Update
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import iterate

__all__ = ["called", "finds_by_chance", "target_of", "writes_inside"]

_CHANCE: Final = frozenset(
    {"gen_random_uuid", "newid", "nextval", "rand", "random", "uuid", "uuid_generate_v4"}
)
"""Functions, by their names in lower case, that give something else every time."""


def target_of(statement: UpdateBase) -> Any:
    """The table that a statement changes, or changes by an alias; else what it calls its target.

    Of a statement that the ORM splits by tables it is the one at hand.
    """
    for note in ("_emit_insert_table", "_emit_update_table"):
        if note in statement._annotations:
            return statement._annotations[note]
    target: Any = statement.table
    target = target._deannotate()
    if isinstance(target, Join):  # of a class that is queried with its subclasses
        subject = statement._propagate_attrs.get("plugin_subject")
        return target if subject is None else subject.local_table
    return target.element if isinstance(target, Alias) else target


def called(statement: UpdateBase, table: Table) -> str:
    """The statement's name in messages: its verb and the table, without a value."""
    return f"{statement.__visit_name__} of {table.fullname}"


def writes_inside(statement: UpdateBase) -> bool:
    """Whether what a statement finds its rows by writes, too; of an INSERT, its SELECT."""
    finds = statement.select if isinstance(statement, Insert) else statement
    return finds is not None and any(
        isinstance(one, CTE) and isinstance(one.element, UpdateBase) for one in iterate(finds)
    )


def finds_by_chance(statement: Update | Delete) -> bool:
    """Whether a statement may find other rows than a query by the same criteria just before it."""
    where = statement.whereclause
    return where is not None and any(
        (isinstance(one, FunctionElement) and getattr(one, "name", "").lower() in _CHANCE)
        or (isinstance(one, Select) and getattr(one._for_update_arg, "skip_locked", False))
        for one in iterate(where)
    )
