"""SQLAlchemy's events of engines and connections, told as what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from sqlalchemy import Connection, CursorResult, TextClause

__all__ = ["RETURNING", "Hears", "Listeners", "listeners"]

RETURNING: Final = ("before_execute", "before_cursor_execute")
"""The events whose listeners return what is to run; else SQLAlchemy would wrap them to do so,
which costs something where it sends each row by itself."""

Listeners: TypeAlias = tuple[tuple[str, Callable[..., Any]], ...]
"""Functions with the names of the events they are for."""


class Hears(Protocol):
    """What is told of all that the connections of an engine do."""

    def before(
        self,
        connection: Connection,
        statement: Any,
        parameters: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> Any:
        """A statement is about to run; returns what to run in its place."""
        ...

    def after(self, connection: Connection, statement: Any, result: CursorResult[Any]) -> None:
        """A statement has run."""
        ...

    def text(self, connection: Connection, text: str, options: Mapping[str, Any]) -> None:
        """SQL text is about to run."""
        ...

    def inside(self, connection: Connection, compiled: Any) -> None:
        """A query with common table expressions is about to run."""
        ...

    def released(self, connection: Connection, savepoint: str) -> None:
        """A savepoint became part of what is around it."""
        ...

    def undone(self, connection: Connection, savepoint: str) -> None:
        """A savepoint is rolled back."""
        ...

    def preparing(self, connection: Connection) -> None:
        """A transaction is about to be prepared; raises when it must not be."""
        ...

    def committing(self, connection: Connection, roll_back: Callable[[], None]) -> None:
        """A transaction is about to commit; rolls it back and raises when it must not."""
        ...

    def rolled_back(self, connection: Connection) -> None:
        """A transaction has been rolled back."""
        ...


def listeners(heard: Callable[[], Hears | None]) -> Listeners:
    """What to listen to on an engine, for as long as ``heard`` gives who is to be told.

    That is a weak reference as a rule: an engine is to keep no Lifecycle from going.
    """

    def before_execute(
        connection: Connection, statement: Any, many: Any, one: Any, options: Any
    ) -> tuple[Any, Any, Any]:
        alive = heard()
        if alive is not None:
            parameters = many or ([one] if one else [])
            if isinstance(statement, TextClause):
                alive.text(connection, statement.text, options)
            else:
                statement = alive.before(connection, statement, parameters, options)
        return statement, many, one

    def before_cursor_execute(
        connection: Connection, cursor: Any, text: str, values: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        compiled = context.compiled
        if compiled is None:  # it is of exec_driver_sql
            alive = heard()
            if alive is not None:
                alive.text(connection, text, context.execution_options)
        elif getattr(compiled, "ctes", None):
            alive = heard()
            if alive is not None:
                alive.inside(connection, compiled)
        return text, values

    def after_execute(
        connection: Connection, statement: Any, many: Any, one: Any, options: Any, result: Any
    ) -> None:
        alive = heard()
        if alive is not None:
            alive.after(connection, statement, result)

    def release_savepoint(connection: Connection, name: str, context: None) -> None:
        alive = heard()
        if alive is not None:
            alive.released(connection, name)

    def rollback_savepoint(connection: Connection, name: str, context: None) -> None:
        alive = heard()
        if alive is not None:
            alive.undone(connection, name)

    def prepare(connection: Connection, *_: object) -> None:
        alive = heard()
        if alive is not None:
            alive.preparing(connection)

    def commit(connection: Connection) -> None:
        alive = heard()
        if alive is not None:
            alive.committing(connection, connection._rollback_impl)

    def commit_twophase(connection: Connection, xid: Any, is_prepared: bool) -> None:
        alive = heard()
        if alive is not None:
            roll_back = partial(connection._rollback_twophase_impl, xid, is_prepared)
            alive.committing(connection, roll_back)

    def rollback(connection: Connection, *_: object) -> None:
        alive = heard()
        if alive is not None:
            alive.rolled_back(connection)

    return (
        ("before_execute", before_execute),
        ("after_execute", after_execute),
        ("before_cursor_execute", before_cursor_execute),
        ("release_savepoint", release_savepoint),
        ("rollback_savepoint", rollback_savepoint),
        ("prepare_twophase", prepare),
        ("commit", commit),
        ("rollback", rollback),
        ("commit_twophase", commit_twophase),
        ("rollback_twophase", rollback),
    )
