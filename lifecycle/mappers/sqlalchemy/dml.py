"""What a statement that writes is about, and what it is called in messages."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.sql.dml import UpdateBase

__all__ = ["called", "target_of"]


def target_of(statement: UpdateBase) -> Any:
    """What a statement changes: of one the ORM splits by tables, the table at hand."""
    for note in ("_emit_insert_table", "_emit_update_table"):
        if note in statement._annotations:
            return statement._annotations[note]
    target: Any = statement.table
    return target._deannotate()


def called(statement: UpdateBase, table: Table) -> str:
    """The statement's name in messages: its verb and the table, without a value."""
    return f"{statement.__visit_name__} of {table.fullname}"
