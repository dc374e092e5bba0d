"""Seeing what an engine is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
from sqlalchemy import Engine, event


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """The statements an engine executes meanwhile."""
    seen: list[str] = []

    copy = psycopg.Cursor.copy

    def noting_copy(cursor: Any, statement: str, *rest: Any, **more: Any) -> Any:
        seen.append(statement)  # of which SQLAlchemy knows nothing
        return copy(cursor, statement, *rest, **more)

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with patch.object(psycopg.Cursor, "copy", noting_copy):
            yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
