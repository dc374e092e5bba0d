"""Steps that write past the unit of work, by statements and methods of the session."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, bindparam, delete, insert, literal, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from tests.workload.choices import recipe_of
from tests.workload.models import (
    Article,
    Blog,
    Book,
    Bottle,
    Coin,
    Doc,
    Employee,
    Manager,
    Memo,
    Page,
    Parcel,
    Path,
    Person,
    Post,
    Reply,
    Shape,
    Slot,
    Ticket,
    Truck,
    Vehicle,
)
from tests.workload.running import Here, Skip
from tests.workload.steps import step

INSERTED = (Book, Bottle, Slot, Path, Doc, Memo, Truck, Manager, Parcel, Coin)
"""Classes whose rows are inserted in bulk."""


def _row(here: Here, model: type[Any]) -> dict[str, Any]:
    """Values for a whole row."""
    return here.new(model) | here.values(model, all=True)


def _rows(here: Here, model: type[Any]) -> list[dict[str, Any]]:
    return [_row(here, model) for _ in range(1 + here.number(4))]


def _inserted(here: Here) -> type[Any]:
    model: type[Any] = here.a_class(*INSERTED)
    return model


def _own(here: Here, column: Any) -> Any:
    """The criterion that keeps a statement to the rows of this transaction."""
    return column % 2 == here.room()


def _execute(here: Here, statement: Any) -> None:
    """Execute a statement in one of the ways to bring the session's objects in line with it."""
    how = here.one_of("auto", "fetch", False)
    if how == "auto":
        here.session.flush()  # it cannot evaluate what the database is still to work out
    here.session.execute(statement, execution_options={"synchronize_session": how})


def _numbered(here: Here) -> tuple[Any, str]:
    """A class, and a column of numbers that it has."""
    columns = {
        Book: "pages",
        Coin: "worth",
        Doc: "one",
        Memo: "one",
        Vehicle: "wheels",
        Truck: "wheels",
    }
    model = here.a_class(*columns)
    return model, columns[model]


# --- statements ---


@step("bulk", weight=4)
def insert_one(here: Here) -> None:
    """INSERT one row of a class that has one table."""
    model: Any = here.a_class(*(one for one in INSERTED if one is not Manager))
    here.session.execute(insert(model).values(**_row(here, model)))


@step("bulk", weight=4)
def insert_many(here: Here) -> None:
    """INSERT several rows of a class."""
    model = _inserted(here)
    here.session.execute(insert(model), _rows(here, model))


@step("bulk", weight=4)
def insert_returning(here: Here) -> None:
    """INSERT rows and get them as objects; Parcel has a type that cannot be compared here."""
    model: Any = here.a_class(*(one for one in INSERTED if one is not Parcel))
    here.session.scalars(insert(model).returning(model), _rows(here, model)).all()


@step("bulk", weight=2)
def insert_generated(here: Here) -> None:
    """INSERT rows whose keys the database gives."""
    model: Any = here.a_class(Ticket, Reply)
    here.session.execute(insert(model), _rows(here, model))


@step("bulk", weight=2)
def insert_from_select(here: Here) -> None:
    """INSERT what a query gives."""
    room = here.room()
    rows = select(Book.id + 100_000, Book.title).where(Book.id % 2 == room, Book.id < 100_000)
    here.session.execute(insert(Post).from_select(["id", "title"], rows))


@step("bulk", weight=6)
def update_where(here: Here) -> None:
    """UPDATE the rows of a class that fulfil a criterion, with values or expressions."""
    model, changed = _numbered(here)
    column = getattr(model, changed)
    value = column + 1 if here.flip() else here.number(9)
    statement = update(model).where(_own(here, model.id), column < here.number(9))
    _execute(here, statement.values({changed: value}))
    here.session.expire_all()


@step("bulk", weight=3)
def update_subclass(here: Here) -> None:
    """UPDATE the rows of a subclass, in its own table or in that of its base."""
    changes: dict[Any, Any] = {
        Truck: {"wheels": 6},
        Employee: {"salary": 5},
        Person: {"name": "all"},
    }
    model: Any = here.a_class(*changes)
    values = changes[model]
    here.session.execute(
        update(model).where(_own(here, model.id)).values(**values),
        execution_options={"synchronize_session": False},
    )
    here.session.expire_all()


@step("bulk", weight=3)
def update_returning(here: Here) -> None:
    """UPDATE rows and get them as objects."""
    own = _own(here, Book.id)
    if here.session.get_bind().dialect.name == "mysql":
        raise Skip
    here.session.flush()
    changed = update(Book).where(own, Book.pages > here.number(9)).values(pages=here.number(9))
    here.session.scalars(changed.returning(Book)).all()


@step("bulk", weight=3)
def update_by_keys(here: Here) -> None:
    """UPDATE several rows by their keys."""
    found = {here.some(Book).id for _ in range(1 + here.number(3))}
    rows = [{"id": id, **here.values(Book, all=True)} for id in sorted(found)]
    here.session.execute(update(Book), rows)
    here.session.expire_all()


@step("bulk", weight=2)
def move_where(here: Here) -> None:
    """UPDATE the key itself."""
    slot, hour = here.some(Slot), here.number(24)
    here.session.flush()
    statement = update(Slot).where(Slot.day == slot.day, Slot.hour == slot.hour)
    here.session.execute(
        statement.values(hour=hour), execution_options={"synchronize_session": False}
    )
    here.session.expunge(slot)


@step("bulk", weight=4)
def delete_where(here: Here) -> None:
    """DELETE the rows of a class that fulfil a criterion."""
    model, name = _numbered(here)
    column = getattr(model, name)
    _execute(here, delete(model).where(_own(here, model.id), column == here.number(9)))
    here.session.expire_all()


@step("bulk", weight=3)
def query_update(here: Here) -> None:
    """UPDATE through a query of the old kind."""
    books = here.session.query(Book).filter(_own(here, Book.id), Book.pages < here.number(9))
    books.update({Book.pages: Book.pages + 1}, synchronize_session="fetch")


@step("bulk", weight=2)
def query_delete(here: Here) -> None:
    """DELETE through a query of the old kind."""
    bottles = here.session.query(Bottle).filter(_own(here, Bottle.id), Bottle.crate_id.is_(None))
    bottles.delete(synchronize_session="fetch")


# --- methods ---


@step("bulk", weight=3)
def bulk_insert(here: Here) -> None:
    """bulk_insert_mappings."""
    model = _inserted(here)
    rows = _rows(here, model)
    here.session.bulk_insert_mappings(model, rows, return_defaults=here.flip())


@step("bulk", weight=3)
def bulk_update(here: Here) -> None:
    """bulk_update_mappings, of a model with or without values that change by themselves."""
    model: Any = here.a_class(Book, Doc, Truck, Employee, Page)
    found = [here.some(model) for _ in range(1 + here.number(3))]
    here.session.flush()
    keys = [_key_and_version(one) for one in sorted({*found}, key=lambda one: one.id)]
    rows = [key | here.values(model, all=True) for key in keys]
    here.session.bulk_update_mappings(model, rows)
    here.session.expire_all()


def _key_and_version(instance: Any) -> dict[str, Any]:
    return {name: getattr(instance, name) for name in ("id", "version") if hasattr(instance, name)}


@step("bulk", weight=3)
def bulk_save(here: Here) -> None:
    """bulk_save_objects, of new objects and of changed ones."""
    new = [Book(**_row(here, Book)) for _ in range(here.number(3))]
    changed = here.some(Book)
    here.session.flush()
    here.session.expunge(changed)
    changed.title = here.value(Book, "title")
    here.session.bulk_save_objects([*new, changed])


# --- upserts ---


@step("bulk", weight=4)
def upsert(here: Here) -> None:
    """INSERT a row, or UPDATE the one that is there."""
    model: Any = here.a_class(Book, Slot, Doc)
    row = _row(here, model)
    if here.flip():
        instance = here.some(model)
        row |= {name: getattr(instance, name) for name in recipe_of(model).handle}
    here.session.flush()
    here.session.execute(_upsert(here.session.get_bind().dialect, model, row))
    here.session.expire_all()


def _upsert(dialect: Dialect, model: Any, row: dict[str, Any]) -> Any:
    keys = list(model.__table__.primary_key.columns)
    named = {model.__mapper__.columns[name].name: value for name, value in row.items()}
    changed = {name: value for name, value in named.items() if name not in {k.name for k in keys}}
    if dialect.name == "mysql":
        return mysql.insert(model).values(named).on_duplicate_key_update(changed)
    made = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect.name](model)
    return made.values(named).on_conflict_do_update(index_elements=keys, set_=changed)


@step("bulk", weight=2)
def insert_or_ignore(here: Here) -> None:
    """INSERT a row unless it is there."""
    row = _row(here, Book)
    dialect = here.session.get_bind().dialect.name
    if dialect == "mysql":
        statement: Any = insert(Book).prefix_with("IGNORE").values(**row)
    else:
        made = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect](Book)
        statement = made.values(**row).on_conflict_do_nothing()
    here.session.execute(statement)


@step("bulk", weight=1)
def update_with_parameter(here: Here) -> None:
    """UPDATE with a bound parameter in the criterion, and the value of another column."""
    own = _own(here, Page.id)
    statement = (
        update(Page).where(own, Page.version < bindparam("limit")).values(words=literal("w"))
    )
    here.session.execute(
        statement, {"limit": here.number(9)}, execution_options={"synchronize_session": False}
    )
    here.session.expire_all()


@step("bulk", weight=1)
def update_concrete(here: Here) -> None:
    """UPDATE the base of a concrete class, which has rows of its own only."""
    here.session.execute(
        update(Shape).where(_own(here, Shape.id)).values(label=here.value(Shape, "label")),
        execution_options={"synchronize_session": False},
    )
    here.session.expire_all()


@step("bulk", weight=1)
def write_only(here: Here) -> None:
    """Statements of a collection that is never loaded."""
    blog = here.some(Blog)
    here.session.flush()
    if here.flip():
        here.session.execute(blog.posts.insert(), [_row(here, Post)])
    else:
        here.session.execute(
            blog.posts.update().values(title=here.value(Post, "title")),
            execution_options={"synchronize_session": False},
        )
        here.session.expire_all()


@step("bulk", weight=1)
def update_from_other(here: Here) -> None:
    """UPDATE with the value of a subquery on another table."""
    newest = select(Article.title).order_by(Article.id.desc()).limit(1).scalar_subquery()
    here.session.execute(
        update(Bottle).where(_own(here, Bottle.id)).values(label=newest),
        execution_options={"synchronize_session": False},
    )
    here.session.expire_all()
