"""Steps that write with statements on tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from tests.workload.models import (
    Article,
    Book,
    Course,
    Employee,
    Person,
    Slot,
    Student,
    Tag,
    article_tag,
    student_course,
    tag_broader,
)
from tests.workload.running import Here
from tests.workload.steps import step


def _executing(here: Here) -> Any:
    """The session, or its connection."""
    here.session.flush()
    executing: Connection | Any = here.session.connection() if here.flip() else here.session
    return executing.execute


@step("core", weight=4)
def insert_into_table(here: Here) -> None:
    """INSERT into the table of a class, one row or several."""
    execute, rows = _executing(here), 1 + here.number(3)
    execute(
        Book.__table__.insert(), [here.new(Book) | here.values(Book, all=True) for _ in range(rows)]
    )


@step("core", weight=4)
def update_table(here: Here) -> None:
    """UPDATE the table of a class."""
    execute, table = _executing(here), Book.__table__
    execute(
        table.update()
        .where(table.c.id % 2 == here.room(), table.c.pages < here.number(9))
        .values(pages=table.c.pages + 1)
    )
    here.session.expire_all()


@step("core", weight=2)
def update_joined_table(here: Here) -> None:
    """UPDATE one table of a class that has two."""
    execute = _executing(here)
    table, name = here.one_of((Person.__table__, "full_name"), (Employee.__table__, "salary"))
    value = here.number(9)
    execute(
        table.update()
        .where(table.c.id % 2 == here.room())
        .values({name: str(value) if name == "full_name" else value})
    )
    here.session.expire_all()


@step("core", weight=4)
def delete_from_table(here: Here) -> None:
    """DELETE from the table of a class."""
    execute, table = _executing(here), Book.__table__
    execute(table.delete().where(table.c.id % 2 == here.room(), table.c.pages == here.number(9)))
    here.session.expire_all()


@step("core", weight=2)
def move_in_table(here: Here) -> None:
    """UPDATE a key in its table."""
    slot, hour = here.some(Slot), here.number(24)
    execute, table = _executing(here), Slot.__table__
    here.session.expunge(slot)
    execute(
        table.update().where(table.c.day == slot.day, table.c.hour == slot.hour).values(hour=hour)
    )


@step("core and many-to-many", weight=6)
def pair(here: Here) -> None:
    """INSERT into an association table."""
    table, ends = here.one_of(
        (article_tag, (Article, Tag)),
        (student_course, (Student, Course)),
        (tag_broader, (Tag, Tag)),
    )
    first, second = (here.some(end) for end in ends)
    execute = _executing(here)
    execute(table.insert(), dict(zip(table.c.keys(), (first.id, second.id), strict=True)))
    here.session.expire_all()


@step("core and many-to-many", weight=4)
def part(here: Here) -> None:
    """DELETE from an association table."""
    execute = _executing(here)
    table = here.one_of(article_tag, student_course, tag_broader)
    first, second = table.c
    execute(table.delete().where(first % 2 == here.room(), second < here.number(99)))
    here.session.expire_all()
