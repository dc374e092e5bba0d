"""What the application's own listeners add to a flush is recorded like the rest of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import String, delete, event, func, insert, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, Session, mapped_column, sessionmaker

from lifecycle import Change, Lifecycle
from tests.replaying import replayed, state_of
from tests.sqlalchemy.conftest import Recorded, Start

Factory = sessionmaker[Session]


@pytest.fixture
def article(base: type[DeclarativeBase]) -> Any:
    """A model with a column that is not loaded with the others."""

    class Article(base):
        __tablename__ = "articles"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str] = mapped_column(String(50))
        edits: Mapped[int] = mapped_column(default=0)
        summary: Mapped[str | None] = mapped_column(String(50), deferred=True)

    return Article


@pytest.fixture
def factory(article: Any, start: Start) -> Factory:
    factory = start()
    with factory.begin() as session:
        session.add_all([article(title=title, summary=title) for title in "ab"])
    return factory


@contextmanager
def listening(target: Any, name: str, listener: Callable[..., None]) -> Iterator[None]:
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)


def rename_all(factory: Factory, article: Any, suffix: str) -> None:
    with factory.begin() as session:
        for one in session.scalars(select(article)):
            one.title += suffix


def check_replay(factory: Factory, article: Any, lifecycle: Lifecycle) -> None:
    records = lifecycle.history.find(newest_first=False)
    with factory() as session:
        assert replayed({}, records) == state_of(session, [article])


def test_expressions_that_a_listener_of_updates_assigns(
    factory: Factory, article: Any, lifecycle: Lifecycle, recorded: Recorded
) -> None:
    def count(mapper: object, connection: object, target: Any) -> None:
        target.edits = article.edits + 1

    with listening(article, "before_update", count):
        rename_all(factory, article, "1")
        rename_all(factory, article, "2")
    assert recorded()[-1][3] == {"title": Change("b1", "b12"), "edits": Change(1, 2)}
    check_replay(factory, article, lifecycle)


def test_what_it_assigns_in_place_of_what_was_assigned(
    factory: Factory, article: Any, lifecycle: Lifecycle
) -> None:
    def shout(mapper: object, connection: object, target: Any) -> None:
        target.title = func.upper(target.title)

    with listening(article, "before_update", shout):
        rename_all(factory, article, "c")
    check_replay(factory, article, lifecycle)


def test_what_it_assigns_to_columns_that_were_not_loaded(
    factory: Factory, article: Any, lifecycle: Lifecycle
) -> None:
    def summarise(mapper: object, connection: object, target: Any) -> None:
        target.summary = f"about {target.title}"

    with listening(article, "before_update", summarise):
        rename_all(factory, article, "1")
        rename_all(factory, article, "2")
    check_replay(factory, article, lifecycle)


def test_listeners_that_come_while_it_is_installed_and_go_again(
    factory: Factory, article: Any, lifecycle: Lifecycle
) -> None:
    def count(mapper: object, connection: object, target: Any) -> None:
        target.edits = article.edits + 1

    def summarise(mapper: object, connection: object, target: Any) -> None:
        target.summary = func.lower(target.title)

    with listening(article, "before_update", count):
        rename_all(factory, article, "1")
        with listening(article, "before_update", summarise):
            rename_all(factory, article, "2")
        rename_all(factory, article, "3")
    rename_all(factory, article, "4")
    check_replay(factory, article, lifecycle)
    lifecycle.uninstall(factory)
    assert not article.__mapper__.dispatch.before_update.listeners
    lifecycle.install(factory)


@pytest.mark.parametrize("value", ["counted up", "in upper case"])
def test_expressions_that_a_listener_of_all_mappers_assigns(
    value: str, factory: Factory, article: Any, lifecycle: Lifecycle
) -> None:
    """It was declared after Lifecycle had been installed, so it runs after that."""

    def assign(mapper: object, connection: object, target: Any) -> None:
        if value == "counted up":
            target.edits = article.edits + 1
        else:
            target.title = func.upper(target.title)

    with listening(Mapper, "before_update", assign):
        rename_all(factory, article, "c")
        rename_all(factory, article, "d")
    rename_all(factory, article, "e")
    check_replay(factory, article, lifecycle)
    lifecycle.uninstall(factory)
    assert not article.__mapper__.dispatch.before_update.listeners
    lifecycle.install(factory)


def test_expressions_that_a_listener_of_the_session_assigns(
    factory: Factory, article: Any, lifecycle: Lifecycle
) -> None:
    """It was declared after Lifecycle had been installed, so it runs after that."""

    def count(session: Session, context: object, instances: object) -> None:
        for one in session.dirty:
            one.edits = article.edits + 1

    event.listen(factory, "before_flush", count)
    rename_all(factory, article, "1")
    rename_all(factory, article, "2")
    check_replay(factory, article, lifecycle)


def _set(key: Any, **values: Any) -> Callable[[Any], Any]:
    """A statement that sets columns of the row with a key, all rows where that is none."""

    def make(table: Any) -> Any:
        made = update(table).values({name: _of(table, one) for name, one in values.items()})
        return made if key is None else made.where(table.c.id == key)

    return make


def _of(table: Any, value: Any) -> Any:
    return value(table) if callable(value) else value


def _title_with(suffix: str) -> Callable[[Any], Any]:
    return lambda table: table.c.title + suffix


def _gone(key: int) -> Callable[[Any], Any]:
    return lambda table: delete(table).where(table.c.id == key)


def _there(key: int, title: str) -> Callable[[Any], Any]:
    return lambda table: insert(table).values(id=key, title=title, edits=0)


STATEMENTS: dict[str, tuple[str, list[Callable[[Any], Any]]]] = {
    "other columns": ("update", [_set(1, edits=lambda table: table.c.edits + 1)]),
    "the same column": ("update", [_set(1, title=_title_with("+"))]),
    "the same column twice": (
        "update",
        [_set(1, title=_title_with("+")), _set(1, title=_title_with("*"))],
    ),
    "what it was, and what it is to be": ("update", [_set(1, title="a"), _set(1, title="a1")]),
    "every row": ("update", [_set(None, title=_title_with("+"))]),
    "this and another column, then this": (
        "update",
        [_set(1, title="x", edits=5), _set(1, title="y")],
    ),
    "a row that comes back": ("update", [_gone(1), _there(1, "x"), _set(1, title="y")]),
    "a row that comes": ("insert", [_set(3, title="x"), _set(3, title="y")]),
    "a row that goes": ("delete", [_set(2, title="x")]),
}
AFTER_ONLY: dict[str, tuple[str, list[Callable[[Any], Any]]]] = {
    "a new key, and on": ("update", [_set(1, id=7), _set(7, title="x")]),
    "a deletion": ("update", [_gone(1)]),
    "a row that comes and goes": ("insert", [_set(3, title="x"), _gone(3)]),
    "a row in place of the one that goes": ("delete", [_there(2, "x"), _set(2, title="y")]),
}


@pytest.mark.parametrize(
    ("when", "what"),
    [(when, what) for when in ("before", "after") for what in STATEMENTS]
    + [("after", what) for what in AFTER_ONLY],
)
def test_statements_that_a_listener_executes_on_rows_of_the_same_flush(
    when: str, what: str, factory: Factory, article: Any, lifecycle: Lifecycle
) -> None:
    """They are told in order with what the flush does, and each old value is the one there was."""
    operation, statements = (STATEMENTS | AFTER_ONLY)[what]

    def execute(mapper: object, connection: Any, target: Any) -> None:
        for make in statements:
            connection.execute(make(article.__table__))

    with listening(article, f"{when}_{operation}", execute), factory.begin() as session:
        if operation == "insert":
            session.add(article(id=3, title="c"))
        elif operation == "delete":
            session.delete(session.get_one(article, 2))
        else:
            for one in session.scalars(select(article)):
                one.title += "1"
    check_replay(factory, article, lifecycle)


@pytest.mark.parametrize("operation", ["insert", "update"])
def test_statements_that_a_listener_executes_on_what_the_flush_has_the_database_work_out(
    operation: str, factory: Factory, article: Any, lifecycle: Lifecycle
) -> None:
    """It is read when they have run, too."""
    table = article.__table__

    def count(mapper: object, connection: Any, target: Any) -> None:
        for _ in range(2):
            counted = update(table).values(edits=table.c.edits + 1)
            connection.execute(counted.where(table.c.id == target.id))

    with listening(article, f"after_{operation}", count), factory.begin() as session:
        if operation == "insert":
            session.add(article(id=3, title="c", edits=func.length("abc")))
        else:
            session.get_one(article, 1).edits = article.edits + 5
    check_replay(factory, article, lifecycle)
