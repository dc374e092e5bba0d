"""What a statement that writes is about, and what it is called in messages."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Alias, Table
from sqlalchemy.sql.dml import UpdateBase

__all__ = ["called", "target_of"]


def target_of(statement: UpdateBase) -> Any:
    """The table that a statement changes, or changes by an alias; else what it calls its target.

    Of a statement that the ORM splits by tables it is the one at hand.
    """
    for note in ("_emit_insert_table", "_emit_update_table"):
        if note in statement._annotations:
            return statement._annotations[note]
    target: Any = statement.table
    target = target._deannotate()
    return target.element if isinstance(target, Alias) else target


def called(statement: UpdateBase, table: Table) -> str:
    """The statement's name in messages: its verb and the table, without a value."""
    return f"{statement.__visit_name__} of {table.fullname}"
