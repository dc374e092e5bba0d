"""Steps after which the database changes rows by itself that nobody has in memory."""

from __future__ import annotations

from sqlalchemy import delete

from tests.workload.models import Article, Country, Course, Folder, Person, Student, Tag
from tests.workload.running import Here
from tests.workload.steps import step


@step("cascade", weight=8)
def delete_folder(here: Here) -> None:
    """Delete a parent; the database deletes its children, or cuts them off."""
    folder = here.stored(Folder)
    if here.flip():
        here.session.flush()
        here.session.expire_all()
    here.session.delete(folder)
    here.session.flush()
    here.session.expire_all()


@step("cascade and bulk", weight=3)
def delete_folders(here: Here) -> None:
    """The same by a statement."""
    here.session.execute(
        delete(Folder).where(Folder.id % 2 == here.room(), Folder.id > here.number(40)),
        execution_options={"synchronize_session": False},
    )
    here.session.expunge_all()


@step("cascade", weight=6)
def rename_country(here: Here) -> None:
    """Change a key that the database carries over to rows nobody has in memory."""
    country = here.stored(Country)
    if here.flip():
        here.session.flush()
        here.session.expire_all()
    for name, value in here.new(Country).items():
        setattr(country, name, value)
    here.session.flush()
    here.session.expire_all()


@step("cascade and bulk", weight=3)
def rename_country_in_table(here: Here) -> None:
    """The same by a statement."""
    country, table = here.stored(Country), Country.__table__
    code, new = country.code, here.new(Country)
    here.session.flush()
    here.session.expunge_all()
    here.session.execute(table.update().where(table.c.code == code).values(new))


@step("cascade and bulk", weight=12)
def delete_from_parents(here: Here) -> None:
    """DELETE rows that others are parts of, are associated with, or refer to."""
    model = here.a_class(Person, Article, Tag, Student, Course)
    here.session.flush()
    table = model.__table__
    here.session.connection().execute(
        table.delete().where(table.c.id % 2 == here.room(), table.c.id > here.number(40))
    )
    here.session.expunge_all()


@step("cascade", weight=8)
def move_associated(here: Here) -> None:
    """Change a key that is in rows of association tables, or of other tables of the object."""
    found = here.stored(Article, Tag, Student, Course, Person)
    if here.flip():
        here.session.flush()
        here.session.expire_all()
    for name, value in here.new(type(found)).items():
        setattr(found, name, value)
    here.session.flush()
    here.session.expire_all()


@step("cascade and bulk", weight=6)
def move_associated_in_table(here: Here) -> None:
    """The same by a statement."""
    found = here.stored(Article, Tag, Student, Course, Person)
    table = type(found).__mapper__.base_mapper.local_table
    key, new = found.id, here.new(type(found))
    here.session.flush()
    here.session.expunge_all()
    here.session.execute(table.update().where(table.c.id == key).values(new))
