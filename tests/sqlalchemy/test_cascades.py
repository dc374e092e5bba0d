"""Rows that the database removes or changes through its foreign keys, on each database.

Every case makes the database do something by itself. The records say which objects it did it to,
and replayed they lead from the tables as they were to the tables as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    String,
    Table,
    TypeDecorator,
    bindparam,
    case,
    create_engine,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
    with_loader_criteria,
)

from lifecycle import ABSENT, MASKED, UNKNOWN, Change, Lifecycle, audited, not_audited, post_remove
from lifecycle.audit.records import Record
from lifecycle.changes import SetEdit
from lifecycle.errors import RecordingError, UnrecordedWriteWarning
from tests.replaying import State, replayed, state_of
from tests.sqlalchemy.conftest import Start
from tests.statements import statements

Told = list[tuple[str, str, str | None]]
"""Operation, object and cause of records."""


def key_column() -> Any:
    return mapped_column(primary_key=True, autoincrement=False)


def refers(to: str, **actions: str) -> Any:
    return mapped_column(ForeignKey(to, **actions))


@pytest.fixture
def models(base: type[DeclarativeBase]) -> Any:
    """A parent of every kind of children, a tree, keys that carry over, and a hierarchy."""

    class Company(base):
        __tablename__ = "company"
        id: Mapped[int] = key_column()
        vat: Mapped[str | None] = mapped_column(String(20), unique=True)
        branches: Mapped[list[Any]] = relationship("Branch", cascade="all", passive_deletes=True)
        guests: Mapped[list[Any]] = relationship("Guest", passive_deletes="all")

    class Branch(base):
        __tablename__ = "branch"
        id: Mapped[int] = key_column()
        name: Mapped[str | None] = mapped_column(String(20))
        company_id: Mapped[int | None] = refers("company.id", ondelete="CASCADE")

    class Desk(base):
        __tablename__ = "desk"
        id: Mapped[int] = key_column()
        branch_id: Mapped[int | None] = refers("branch.id", ondelete="CASCADE")
        __mapper_args__ = {"confirm_deleted_rows": False}  # the database may be faster

    class Guest(base):
        __tablename__ = "guest"
        id: Mapped[int] = key_column()
        name: Mapped[str | None] = mapped_column(String(20))
        company_id: Mapped[int | None] = refers("company.id", ondelete="SET NULL")

    class Bill(base):
        __tablename__ = "bill"
        id: Mapped[int] = key_column()
        vat: Mapped[str | None] = refers("company.vat", ondelete="SET NULL", onupdate="CASCADE")

    class Folder(base):
        __tablename__ = "folder"
        id: Mapped[int] = key_column()
        parent_id: Mapped[int | None] = refers("folder.id", ondelete="CASCADE")
        __mapper_args__ = {"confirm_deleted_rows": False}

    class Country(base):
        __tablename__ = "country"
        code: Mapped[str] = mapped_column(String(5), primary_key=True)

    class City(base):
        __tablename__ = "city"
        country: Mapped[str] = mapped_column(
            ForeignKey("country.code", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True
        )
        n: Mapped[int] = key_column()

    class Street(base):
        __tablename__ = "street"
        __table_args__ = (
            ForeignKeyConstraint(
                ["country", "city"],
                ["city.country", "city.n"],
                ondelete="CASCADE",
                onupdate="CASCADE",
            ),
        )
        country: Mapped[str] = mapped_column(String(5), primary_key=True)
        city: Mapped[int] = key_column()
        name: Mapped[str] = mapped_column(String(20), primary_key=True)

    class Person(base):
        __tablename__ = "person"
        id: Mapped[int] = key_column()
        kind: Mapped[str] = mapped_column(String(20))
        company_id: Mapped[int | None] = refers("company.id", ondelete="CASCADE")
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}

    class Employee(Person):
        __tablename__ = "employee"
        id: Mapped[int] = mapped_column(
            ForeignKey("person.id", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True
        )
        salary: Mapped[int | None]
        __mapper_args__ = {"polymorphic_identity": "employee", "passive_deletes": True}

    tagging = Table(
        "tagging",
        base.metadata,
        *(
            Column(
                f"{end}_id",
                ForeignKey(f"{end}.id", ondelete="CASCADE", onupdate="CASCADE"),
                primary_key=True,
            )
            for end in ("article", "tag")
        ),
    )

    class Article(base):
        __tablename__ = "article"
        id: Mapped[int] = key_column()
        tags: Mapped[list[Any]] = relationship(
            "Tag", secondary=tagging, back_populates="articles", passive_deletes=True
        )

    class Tag(base):
        __tablename__ = "tag"
        id: Mapped[int] = key_column()
        company_id: Mapped[int | None] = refers("company.id", ondelete="CASCADE")
        articles: Mapped[list[Any]] = relationship(
            "Article", secondary=tagging, back_populates="tags", passive_deletes=True
        )

    return SimpleNamespace(
        Company=Company, Branch=Branch, Desk=Desk, Guest=Guest, Bill=Bill, Folder=Folder,
        Country=Country, City=City, Street=Street, Person=Person, Employee=Employee,
        Article=Article, Tag=Tag, tagging=tagging,
    )  # fmt: skip


@pytest.fixture
def factory(models: Any, start: Start) -> sessionmaker[Session]:
    """Two of everything that others refer to."""
    m, factory = models, start()
    with factory.begin() as session:
        session.add_all([m.Company(id=1, vat="one"), m.Company(id=2, vat="two")])
        session.add_all(
            [m.Country(code="at"), m.Country(code="de"), m.Folder(id=1), m.Folder(id=5)]
        )
        session.flush()
        session.add_all([m.Branch(id=n, company_id=1) for n in (1, 2)])
        session.add(m.Branch(id=3, company_id=2))
        session.add_all([m.Guest(id=n, company_id=n) for n in (1, 2)])
        session.add_all([m.Bill(id=1, vat="one"), m.Bill(id=2, vat="two"), m.Bill(id=3)])
        session.add_all([m.Folder(id=2, parent_id=1), m.Folder(id=6, parent_id=5)])
        session.add_all([m.City(country=one, n=n) for one, n in (("at", 1), ("at", 2), ("de", 1))])
        session.add_all([m.Person(id=1), m.Employee(id=2, salary=10, company_id=1)])
        tags = [m.Tag(id=1, company_id=1), m.Tag(id=2)]
        session.add_all([m.Article(id=1, tags=tags), m.Article(id=2, tags=tags[1:])])
        session.flush()
        session.add_all([m.Desk(id=n, branch_id=n) for n in (1, 2, 3)])
        session.add_all([m.Folder(id=n, parent_id=2) for n in (3, 4)])
        session.add(m.Street(country="at", city=1, name="x"))
        session.add(m.Street(country="de", city=1, name="y"))
    return factory


def tables(session: Session, m: Any) -> State:
    """Everything the tables hold."""
    return state_of(
        session,
        (
            m.Company, m.Branch, m.Desk, m.Guest, m.Bill, m.Folder, m.Country, m.City, m.Street,
            m.Person, m.Article, m.Tag,
        ),
        (
            (m.Article, "tags", m.tagging.c.article_id, m.tagging.c.tag_id),
            (m.Tag, "articles", m.tagging.c.tag_id, m.tagging.c.article_id),
        ),
    )  # fmt: skip


def records_since(lifecycle: Lifecycle, known: int) -> list[Record]:
    return list(lifecycle.history.find(newest_first=False))[known:]


def told(records: list[Record]) -> Told:
    return [(str(one.operation), f"{one.entity} {one.key}", one.cause) for one in records]


def caused(*objects: str) -> Told:
    """Records of what the database did: "-" deleted an object, "~" changed it."""
    operations = {"-": "delete", "~": "update"}
    return [(operations[one[0]], one[1:], "cascade") for one in objects]


def did(*objects: str) -> Told:
    """Records of what was asked for."""
    operations = {"-": "delete", "~": "update", "+": "insert"}
    return [(operations[one[0]], one[1:], None) for one in objects]


BELOW_1 = caused(
    "-Branch 1", "-Branch 2", "-Desk 1", "-Desk 2", "~Guest 1", "~Bill 1", "-Person 2", "-Tag 1",
    "~Article 1",
)  # fmt: skip
"""What becomes of the children of the first company when it goes."""

BELOW_2 = caused("-Branch 3", "-Desk 3", "~Guest 2", "~Bill 2")

AT = caused("~City x,1", "~City x,2", "~Street x,1,x")
"""What becomes of the first country's when its key becomes x."""

BOTH = AT + caused("~City z,1", "~Street z,1,y")


def remove(session: Session, *objects: Any) -> None:
    for one in objects:
        session.delete(one)


def set_all(session: Session, rows: Any, **values: Any) -> None:
    for one in rows:
        for name, value in values.items():
            setattr(one, name, value)


def change_both_countries(session: Session, m: Any) -> None:
    first, second = session.get_one(m.Country, "at"), session.get_one(m.Country, "de")
    first.code, second.code = "x", "z"


def rename_by_parameters(session: Session, m: Any) -> None:
    table = m.Country.__table__
    statement = table.update().where(table.c.code == bindparam("old"))
    names = [{"old": "at", "code": "x"}, {"old": "de", "code": "z"}]
    session.connection().execute(statement, names)


def both_countries(m: Any) -> Any:
    return case((m.Country.code == "at", "x"), else_="z")


def load_branches(session: Session, m: Any) -> None:
    company = session.get_one(m.Company, 1)
    assert len(company.branches) == 2
    session.delete(company)


def associate_and_delete(session: Session, m: Any) -> None:
    article, tag = session.get_one(m.Article, 2), session.get_one(m.Tag, 1)
    article.tags.append(tag)
    session.delete(tag)


def take_out_and_change_key(session: Session, m: Any) -> None:
    article, tag = session.get_one(m.Article, 2), session.get_one(m.Tag, 2)
    article.tags.remove(tag)
    tag.id = 9


def upsert(session: Session, table: Any) -> Any:
    dialect = {"postgresql": postgresql, "sqlite": sqlite}.get(session.get_bind().dialect.name)
    return (dialect or mysql).insert(table)


def change_by_upsert(session: Session, m: Any) -> None:
    statement = upsert(session, m.Company).values(id=1, vat="new")
    if session.get_bind().dialect.name in ("mysql", "mariadb"):
        session.execute(statement.on_duplicate_key_update(vat="new"))
    else:
        session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"vat": "new"}))


def delete_by_parameters(session: Session, m: Any) -> None:
    table = m.Company.__table__
    statement = table.delete().where(table.c.id == bindparam("one"))
    session.connection().execute(statement, [{"one": 1}, {"one": 2}, {"one": 3}])


WAYS: dict[str, tuple[Callable[[Session, Any], Any], Told]] = {
    # objects are deleted
    "delete an object": (
        lambda s, m: remove(s, s.get_one(m.Company, 1)),
        did("-Company 1") + BELOW_1,
    ),
    "delete two objects": (
        lambda s, m: remove(s, *s.query(m.Company)),
        did("-Company 1", "-Company 2") + BELOW_1 + BELOW_2,
    ),
    "delete an object with loaded children": (
        load_branches,
        did("-Company 1", "-Branch 1", "-Branch 2") + BELOW_1[2:],
    ),
    "delete parent and child, of which the session knows no relation": (
        lambda s, m: remove(s, s.get_one(m.Branch, 1), s.get_one(m.Desk, 1)),
        did("-Branch 1", "-Desk 1"),
    ),
    "delete the top of a tree": (
        lambda s, m: remove(s, s.get_one(m.Folder, 1)),
        did("-Folder 1") + caused("-Folder 2", "-Folder 3", "-Folder 4"),
    ),
    "delete two levels of a tree": (
        lambda s, m: remove(s, s.get_one(m.Folder, 1), s.get_one(m.Folder, 3)),
        did("-Folder 1", "-Folder 3") + caused("-Folder 2", "-Folder 4"),
    ),
    "delete an object of two tables": (
        lambda s, m: remove(s, s.get_one(m.Person, 2)),
        did("-Person 2"),
    ),
    "delete the end of an association": (
        lambda s, m: remove(s, s.get_one(m.Tag, 2)),
        did("-Tag 2") + caused("~Article 1", "~Article 2"),
    ),
    # objects are changed
    "change a referenced column": (
        lambda s, m: set_all(s, [s.get_one(m.Company, 1)], vat="new"),
        did("~Company 1") + caused("~Bill 1"),
    ),
    "change a referenced column to nothing": (
        lambda s, m: set_all(s, [s.get_one(m.Company, 1)], vat=None),
        did("~Company 1") + caused("~Bill 1"),
    ),
    "change a key that others have in theirs": (
        lambda s, m: set_all(s, [s.get_one(m.Country, "at")], code="x"),
        did("~Country x") + AT,
    ),
    "change several keys that others have in theirs": (
        change_both_countries,
        did("~Country x", "~Country z") + BOTH,
    ),
    "change the key of an associated object": (
        lambda s, m: set_all(s, [s.get_one(m.Article, 1)], id=9),
        did("~Article 9") + caused("~Tag 1", "~Tag 2"),
    ),
    "change the key of what leaves a collection": (
        take_out_and_change_key,
        did("~Tag 9", "~Article 2") + caused("~Article 1"),
    ),
    "change the key of an object of two tables": (
        lambda s, m: set_all(s, [s.get_one(m.Person, 2)], id=9),
        did("~Person 9"),
    ),
    # a flush does more to the same rows
    "change a child otherwise": (
        lambda s, m: (
            set_all(s, [s.get_one(m.Guest, 1)], name="x"),
            remove(s, s.get_one(m.Company, 1)),
        ),
        did("-Company 1", "~Guest 1") + BELOW_1,
    ),
    "give a child another parent": (
        lambda s, m: (
            set_all(s, [s.get_one(m.Guest, 1)], company_id=2),
            remove(s, s.get_one(m.Company, 1)),
        ),
        did("-Company 1", "~Guest 1") + [one for one in BELOW_1 if one[1] != "Guest 1"],
    ),
    "add a child that goes at once": (
        lambda s, m: (s.add(m.Desk(id=9, branch_id=1)), remove(s, s.get_one(m.Branch, 1))),
        did("-Branch 1", "+Desk 9") + caused("-Desk 1", "-Desk 9"),
    ),
    "associate what goes at once": (
        associate_and_delete,
        did("~Article 2", "-Tag 1") + caused("~Article 1", "~Article 2"),
    ),
    "several flushes": (
        lambda s, m: (
            set_all(s, [s.get_one(m.Company, 1)], vat="new"),
            s.flush(),
            remove(s, s.get_one(m.Company, 1)),
        ),
        did("~Company 1", "-Company 1") + caused("~Bill 1") + BELOW_1,
    ),
    # statements
    "orm delete": (
        lambda s, m: s.execute(delete(m.Company).where(m.Company.id == 1)),
        did("-Company 1") + BELOW_1,
    ),
    "orm delete by parameters": (
        lambda s, m: s.execute(
            delete(m.Company).where(m.Company.vat == bindparam("v")), {"v": "two"}
        ),
        did("-Company 2") + BELOW_2,
    ),
    "orm delete by parameters and criteria of a loader": (
        lambda s, m: s.execute(
            delete(m.Company)
            .where(m.Company.vat == bindparam("v"))
            .options(with_loader_criteria(m.Company, m.Company.id > 0)),
            {"v": "two"},
        ),
        did("-Company 2") + BELOW_2,
    ),
    "query delete": (
        lambda s, m: s.query(m.Company).filter_by(id=2).delete(),
        did("-Company 2") + BELOW_2,
    ),
    "core delete of all": (
        lambda s, m: s.execute(m.Company.__table__.delete()),
        did("-Company 1", "-Company 2") + BELOW_1 + BELOW_2,
    ),
    "core delete by parameters": (
        delete_by_parameters,
        did("-Company 1", "-Company 2") + BELOW_1 + BELOW_2,
    ),
    "core delete of none": (
        lambda s, m: s.execute(m.Company.__table__.delete().where(m.Company.id == 9)),
        [],
    ),
    "core delete in the middle of a chain": (
        lambda s, m: s.execute(m.Branch.__table__.delete().where(m.Branch.id < 3)),
        did("-Branch 1", "-Branch 2") + caused("-Desk 1", "-Desk 2"),
    ),
    "core delete of the top of a tree": (
        lambda s, m: s.execute(m.Folder.__table__.delete().where(m.Folder.id == 1)),
        did("-Folder 1") + caused("-Folder 2", "-Folder 3", "-Folder 4"),
    ),
    "core delete of a whole tree": (
        lambda s, m: s.execute(m.Folder.__table__.delete()),
        did(*(f"-Folder {n}" for n in range(1, 7))),
    ),
    "core delete of two levels of a tree": (
        lambda s, m: s.execute(m.Folder.__table__.delete().where(m.Folder.id.in_([1, 3]))),
        did("-Folder 1", "-Folder 3") + caused("-Folder 2", "-Folder 4"),
    ),
    "core delete of the first table of two": (
        lambda s, m: s.execute(m.Person.__table__.delete()),
        did("-Person 1", "-Person 2"),
    ),
    "core delete of an end of an association": (
        lambda s, m: s.execute(m.Article.__table__.delete().where(m.Article.id == 1)),
        did("-Article 1") + caused("~Tag 1", "~Tag 2"),
    ),
    "core delete below which keys are composite": (
        lambda s, m: s.execute(m.Country.__table__.delete().where(m.Country.code == "at")),
        did("-Country at") + caused("-City at,1", "-City at,2", "-Street at,1,x"),
    ),
    "orm update of a referenced column": (
        lambda s, m: s.execute(update(m.Company).where(m.Company.id == 1).values(vat="new")),
        did("~Company 1") + caused("~Bill 1"),
    ),
    "orm update by keys": (
        lambda s, m: s.execute(update(m.Company), [{"id": 1, "vat": "x"}, {"id": 2, "vat": "y"}]),
        did("~Company 1", "~Company 2") + caused("~Bill 1", "~Bill 2"),
    ),
    "core update of a key that others have in theirs": (
        lambda s, m: s.execute(
            m.Country.__table__.update().where(m.Country.code == "at").values(code="x")
        ),
        did("~Country x") + AT,
    ),
    "core update of all keys that others have in theirs": (
        lambda s, m: s.execute(m.Country.__table__.update().values(code=both_countries(m))),
        did("~Country x", "~Country z") + BOTH,
    ),
    "core update by parameters of keys that others have in theirs": (
        rename_by_parameters,
        did("~Country x", "~Country z") + BOTH,
    ),
    "core update of a key in the middle of a chain": (
        lambda s, m: s.execute(
            m.City.__table__.update().where(m.City.country == "at", m.City.n == 1).values(n=7)
        ),
        did("~City at,7") + caused("~Street at,7,x"),
    ),
    "core update of the key of an associated object": (
        lambda s, m: s.execute(m.Article.__table__.update().where(m.Article.id == 1).values(id=9)),
        did("~Article 9") + caused("~Tag 1", "~Tag 2"),
    ),
    "core update of the key of an object of two tables": (
        lambda s, m: s.execute(m.Person.__table__.update().where(m.Person.id == 2).values(id=9)),
        did("~Person 9"),
    ),
    "upsert that changes a referenced column": (
        change_by_upsert,
        did("~Company 1") + caused("~Bill 1"),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_the_database_does_by_itself_is_recorded(
    way: str, models: Any, factory: sessionmaker[Session], lifecycle: Lifecycle
) -> None:
    """Each object once, with true old values, and marked; the records lead to the tables."""
    act, expected = WAYS[way]
    with factory() as session:
        before = tables(session, models)
    known = sum(1 for _ in lifecycle.history.find())
    with factory.begin() as session:
        act(session, models)
    with factory() as session:
        after = tables(session, models)
    records = records_since(lifecycle, known)
    assert sorted(told(records), key=str) == sorted(expected, key=str)
    assert replayed(before, records) == after


def test_records_have_the_values_the_rows_had(
    models: Any, factory: sessionmaker[Session], lifecycle: Lifecycle
) -> None:
    """Of a deleted row all, of a changed one what changed; what belongs together is together."""
    m = models
    with factory.begin() as session:
        session.execute(delete(m.Company).where(m.Company.id == 1))

    def newest(cls: Any, key: int) -> dict[str, Any]:
        return dict(next(iter(lifecycle.history.of(cls, key))).changes)

    assert newest(m.Desk, 1) == {"id": Change(1, ABSENT), "branch_id": Change(1, ABSENT)}
    assert newest(m.Guest, 1) == {"company_id": Change(1, None)}
    assert newest(m.Person, 2) == {
        "id": Change(2, ABSENT),
        "kind": Change("employee", ABSENT),
        "company_id": Change(1, ABSENT),
        "salary": Change(10, ABSENT),
    }
    assert newest(m.Tag, 1) == {
        "id": Change(1, ABSENT),
        "company_id": Change(1, ABSENT),
        "articles": SetEdit(frozenset(), frozenset({"1"})),
    }
    assert newest(m.Article, 1) == {"tags": SetEdit(frozenset(), frozenset({"1"}))}


def test_no_hook_runs_for_what_the_database_does(
    base: Any, start: Start, seen: list[Any], lifecycle: Lifecycle
) -> None:
    """They run for what the session writes, and it knows nothing of the rest."""

    class Hooked:
        @post_remove
        def note(self) -> None:
            seen.append(type(self).__name__)

    class Parent(Hooked, base):
        __tablename__ = "parent"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Child(Hooked, base):
        __tablename__ = "child"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int] = refers("parent.id", ondelete="CASCADE")

    factory = start()
    with factory.begin() as session:
        session.add(Parent(id=1))
        session.flush()
        session.add(Child(id=1, parent_id=1))
    with factory.begin() as session:
        session.delete(session.get_one(Parent, 1))
    assert seen == ["Parent"]
    assert told(records_since(lifecycle, 2)) == did("-Parent 1") + caused("-Child 1")


def test_a_savepoint_takes_back_what_was_recorded_inside(
    models: Any, factory: sessionmaker[Session], lifecycle: Lifecycle
) -> None:
    """With the rows; what comes after it finds them as they are then."""
    m = models
    known = sum(1 for _ in lifecycle.history.find())
    with factory.begin() as session:
        savepoint = session.begin_nested()
        session.delete(session.get_one(m.Branch, 1))
        session.flush()
        savepoint.rollback()
        savepoint = session.begin_nested()
        session.execute(delete(m.Branch).where(m.Branch.id == 1))
        savepoint.rollback()
        session.execute(delete(m.Branch).where(m.Branch.id == 2))
    assert told(records_since(lifecycle, known)) == did("-Branch 2") + caused("-Desk 2")


# --- other tables ---------------------------------------------------------------------------


def test_a_default_that_the_database_sets_is_recorded(
    base: Any, start: Start, lifecycle: Lifecycle, engine: Engine
) -> None:
    """ON DELETE and ON UPDATE SET DEFAULT."""
    if engine.dialect.name == "mysql":
        pytest.skip("InnoDB knows no SET DEFAULT")

    class Owner(base):
        __tablename__ = "owner"
        id: Mapped[int] = key_column()

    class Thing(base):
        __tablename__ = "thing"
        id: Mapped[int] = key_column()
        owner_id: Mapped[int] = mapped_column(
            ForeignKey("owner.id", ondelete="SET DEFAULT", onupdate="SET DEFAULT"),
            server_default=text("0"),
        )

    factory = start()
    with factory.begin() as session:
        session.add_all([Owner(id=0), Owner(id=1), Owner(id=2)])
        session.flush()
        session.add_all([Thing(id=1, owner_id=1), Thing(id=2, owner_id=2)])
    with factory.begin() as session:
        session.delete(session.get_one(Owner, 1))
        session.flush()
        session.execute(update(Owner).where(Owner.id == 2).values(id=3))
    records = records_since(lifecycle, 5)
    assert told(records) == (
        did("-Owner 1") + caused("~Thing 1") + did("~Owner 3") + caused("~Thing 2")
    )
    assert records[1].changes == {"owner_id": Change(1, 0)}
    assert records[3].changes == {"owner_id": Change(2, 0)}


@pytest.mark.parametrize("way", ["object", "statement"])
def test_cycles_of_references_end(way: str, base: Any, start: Start, lifecycle: Lifecycle) -> None:
    """Tables that refer to each other, and a row that refers to itself."""

    class Left(base):
        __tablename__ = "left_side"
        id: Mapped[int] = key_column()
        right_id: Mapped[int | None] = mapped_column(
            ForeignKey("right_side.id", ondelete="CASCADE", use_alter=True, name="to_right")
        )
        self_id: Mapped[int | None] = refers("left_side.id", ondelete="CASCADE")

    class Right(base):
        __tablename__ = "right_side"
        id: Mapped[int] = key_column()
        left_id: Mapped[int | None] = refers("left_side.id", ondelete="CASCADE")

    factory = start()
    with factory.begin() as session:
        session.add_all([Left(id=1, self_id=1), Right(id=1)])
        session.flush()
        session.get_one(Left, 1).right_id = 1
        session.get_one(Right, 1).left_id = 1
    with factory.begin() as session:
        if way == "object":
            session.delete(session.get_one(Left, 1))
        else:
            session.execute(delete(Left))
    assert told(records_since(lifecycle, 4)) == did("-Left 1") + caused("-Right 1")


Chain = Callable[..., Any]


@pytest.fixture
def chain(base: Any, start: Start) -> Chain:
    """Makes three tables, each deleted with the one before, decorated as told; returns them."""

    def make(*decorators: Callable[[Any], Any]) -> Any:
        @decorators[0]
        class First(base):
            __tablename__ = "first"
            id: Mapped[int] = key_column()

        @decorators[1]
        class Second(base):
            __tablename__ = "second"
            id: Mapped[int] = key_column()
            first_id: Mapped[int | None] = refers("first.id", ondelete="CASCADE")

        @decorators[2]
        class Third(base):
            __tablename__ = "third"
            id: Mapped[int] = key_column()
            name: Mapped[str | None] = mapped_column(String(20))
            second_id: Mapped[int | None] = refers("second.id", ondelete="CASCADE")

        factory = start()
        with factory.begin() as session:
            session.add_all([First(id=n) for n in (1, 2)])
            session.flush()
            session.add_all([Second(id=n, first_id=n) for n in (1, 2)])
            session.flush()
            session.add_all([Third(id=n, name="n", second_id=n) for n in (1, 2)])
        return SimpleNamespace(First=First, Second=Second, Third=Third, factory=factory)

    return make


def delete_one(m: Any, way: str) -> None:
    with m.factory.begin() as session:
        if way == "object":
            session.delete(session.get_one(m.First, 1))
        elif way == "statement":
            session.execute(delete(m.First).where(m.First.id == 1))
        else:
            session.connection().execute(m.First.__table__.delete().where(m.First.id == 1))


@pytest.mark.parametrize("way", ["object", "statement", "connection"])
@pytest.mark.parametrize("recorded", [{1, 2, 3}, {2, 3}, {3}, {1, 3}, {1, 2}, {2}])
def test_only_recorded_models_are_recorded_wherever_they_are_in_the_chain(
    way: str, recorded: set[int], chain: Chain, lifecycle: Lifecycle
) -> None:
    """What is not recorded is followed all the same, when it leads to what is."""
    m = chain(*(audited if n in recorded else not_audited for n in (1, 2, 3)))
    known = sum(1 for _ in lifecycle.history.find())
    delete_one(m, way)
    expected = did("-First 1") if 1 in recorded else []
    expected += caused("-Second 1") if 2 in recorded else []
    expected += caused("-Third 1") if 3 in recorded else []
    assert told(records_since(lifecycle, known)) == expected


@pytest.mark.parametrize("way", ["object", "statement", "connection"])
def test_excluded_and_masked_fields_stay_out(way: str, chain: Chain, lifecycle: Lifecycle) -> None:
    """That the object went is recorded."""
    m = chain(audited, audited(exclude={"first_id"}), audited(exclude={"name"}, mask={"second_id"}))
    delete_one(m, way)
    _, second, third = records_since(lifecycle, 6)
    assert second.changes == {"id": Change(1, ABSENT)}
    assert third.changes.keys() == {"id", "second_id"}
    assert third.changes.old("second_id") is MASKED


def test_labels_are_those_of_the_rows(chain: Chain, lifecycle: Lifecycle) -> None:
    """As they were before."""
    m = chain(audited, audited, audited(label="name"))
    delete_one(m, "object")
    assert [one.label for one in records_since(lifecycle, 6)] == [None, None, "n"]


# --- what it costs --------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["object", "statement"])
def test_nothing_is_asked_when_no_recorded_table_is_behind(
    way: str, chain: Chain, engine: Engine
) -> None:
    """Neither of a table that nothing refers to, nor of one whose references are not recorded."""
    m = chain(not_audited, not_audited, not_audited)
    with statements(engine) as seen:
        delete_one(m, way)
    assert [one for one in seen if "second" in one or "third" in one] == []


@pytest.mark.parametrize("column", ["name", "second_id"])
def test_nothing_is_asked_for_a_change_that_nothing_follows(
    column: str, chain: Chain, engine: Engine
) -> None:
    """Only for columns that others refer to, and when there is something they do."""
    m = chain(audited, audited, audited)
    with statements(engine) as seen, m.factory.begin() as session:
        setattr(session.get_one(m.Third, 1), column, None)
        session.execute(update(m.Second).where(m.Second.id == 1).values(first_id=2))
    assert len([one for one in seen if "FROM third" in one]) == 1  # to get the object


def test_many_are_read_at_once(chain: Chain, engine: Engine, lifecycle: Lifecycle) -> None:
    """One SELECT for a table before, and one after, however many objects are deleted."""
    m = chain(audited, audited, not_audited)
    with m.factory.begin() as session:
        session.add_all([m.First(id=n) for n in range(10, 110)])
        session.flush()
        session.add_all([m.Second(id=n, first_id=n) for n in range(10, 110)])
    known = sum(1 for _ in lifecycle.history.find())
    with m.factory() as session:
        for one in session.query(m.First):
            session.delete(one)
        with statements(engine) as seen:
            session.flush()
        session.commit()
    assert len([one for one in seen if "FROM second" in one]) == 2
    assert len(records_since(lifecycle, known)) == 204


@pytest.mark.parametrize("way", ["object", "statement", "connection"])
def test_tables_that_are_in_another_database_are_left_alone(
    way: str, chain: Chain, engine: Engine, lifecycle: Lifecycle
) -> None:
    """Or have not been created yet: a foreign key cannot lead there."""
    m = chain(not_audited, audited, audited)
    m.Third.__table__.drop(engine)
    m.Second.__table__.drop(engine)
    delete_one(m, way)
    assert len(records_since(lifecycle, 0)) == 4


# --- the policy of statements ---------------------------------------------------------------


def test_switched_off_statements_are_counted_with_all_they_reach(
    chain: Chain, lifecycle: Lifecycle
) -> None:
    """For a call, and for the model that is reached."""
    m = chain(audited, audited(bulk="off"), audited)
    with m.factory.begin() as session:
        session.execute(delete(m.First).where(m.First.id == 1))
        off = {"lifecycle_bulk": "off"}
        session.execute(delete(m.First).where(m.First.id == 2), execution_options=off)
    assert told(records_since(lifecycle, 6)) == did("-First 1") + caused("-Third 1")
    counted = {(one.entities, one.what): one.times for one in lifecycle.coverage().unrecorded}
    assert counted == {
        (("First",), "delete of first"): 1,
        (("Second",), "delete of first"): 2,
        (("Third",), "delete of first"): 1,
    }


def test_a_statement_recorded_as_a_whole_tells_what_it_may_have_reached(
    chain: Chain, lifecycle: Lifecycle
) -> None:
    """Without their number; what they are is unknown from then on."""
    m = chain(audited, audited(bulk="statement"), audited)
    with m.factory.begin() as session:
        session.execute(delete(m.First).where(m.First.id == 1))
    first, second, third = records_since(lifecycle, 6)
    assert told([first, second, third]) == [
        ("delete", "First 1", None),
        ("bulk", "Second ", "cascade"),
        ("delete", "Third 1", "cascade"),
    ]
    assert second.changes.new("$rows") is UNKNOWN
    assert second.changes.new("$statement").startswith("DELETE FROM first")
    assert lifecycle.history.snapshot(m.Second)["2"].values["first_id"] is UNKNOWN


def test_to_forbid_statements_does_not_forbid_what_the_database_does(
    chain: Chain, lifecycle: Lifecycle
) -> None:
    """It is recorded, of objects and of statements on other tables."""
    m = chain(audited, audited(bulk="forbid"), audited)
    delete_one(m, "statement")
    assert told(records_since(lifecycle, 6)) == did("-First 1") + caused("-Second 1", "-Third 1")


# --- databases that do not act ---------------------------------------------------------------


@pytest.fixture
def loose(
    tmp_path: Path, models: Any, base: Any, lifecycle: Lifecycle
) -> Iterator[sessionmaker[Session]]:
    """Sessions on SQLite, which has not been asked to enforce foreign keys."""
    engine = create_engine(f"sqlite:///{tmp_path / 'loose.sqlite'}")
    yield from installed(engine, base, lifecycle)
    engine.dispose()


@pytest.fixture
def strict(
    sqlite_engine: Engine, models: Any, base: Any, lifecycle: Lifecycle
) -> Iterator[sessionmaker[Session]]:
    """Sessions on SQLite, which enforces foreign keys."""
    yield from installed(sqlite_engine, base, lifecycle)


def installed(engine: Engine, base: Any, lifecycle: Lifecycle) -> Iterator[sessionmaker[Session]]:
    base.metadata.create_all(engine)
    lifecycle.create_tables(engine)
    factory = sessionmaker(engine)
    lifecycle.install(factory)
    yield factory
    lifecycle.uninstall(factory)


def test_a_database_that_does_not_enforce_foreign_keys_does_nothing(
    models: Any, loose: sessionmaker[Session], lifecycle: Lifecycle
) -> None:
    """Nothing false is recorded."""
    m = models
    with loose.begin() as session:
        session.add_all([m.Company(id=1), m.Country(code="at"), m.Country(code="de")])
        session.add_all([m.Branch(id=1, company_id=1), m.Guest(id=1, company_id=1)])
        session.add_all([m.City(country="at", n=1), m.City(country="de", n=1)])
    with loose.begin() as session:
        session.get_one(m.Country, "at").code = "x"
        session.delete(session.get_one(m.Company, 1))
        session.flush()
        session.execute(update(m.Country).where(m.Country.code == "de").values(code="at"))
    assert told(records_since(lifecycle, 7)) == did("~Country x", "-Company 1", "~Country at")


def test_replacing_a_row_removes_its_children(
    models: Any, strict: sessionmaker[Session], lifecycle: Lifecycle
) -> None:
    """SQLite deletes it to insert another one."""
    m = models
    with strict.begin() as session:
        session.add(m.Company(id=1, vat="one"))
        session.flush()
        session.add_all([m.Branch(id=1, company_id=1), m.Guest(id=1, company_id=1)])
    with strict.begin() as session:
        session.execute(insert(m.Company).prefix_with("OR REPLACE").values(id=1, vat="new"))
    assert told(records_since(lifecycle, 3)) == (
        did("~Company 1") + caused("-Branch 1", "~Guest 1")
    )


@pytest.mark.parametrize("recorded", [True, False])
def test_sql_text_that_may_reach_recorded_rows_is_told(
    recorded: bool, chain: Chain, lifecycle: Lifecycle
) -> None:
    """Whether its own table is recorded or not."""
    m = chain(audited if recorded else not_audited, audited, audited)
    with m.factory.begin() as session, pytest.warns(UnrecordedWriteWarning):
        session.execute(text("DELETE FROM first"))
    (gap,) = lifecycle.coverage().unrecorded
    assert gap.entities == (*(("First",) if recorded else ()), "Second", "Third")


def test_sql_text_that_only_inserts_reaches_nothing_else(
    chain: Chain, lifecycle: Lifecycle
) -> None:
    """Nor does an update where only deletes are followed."""
    m = chain(not_audited, audited, audited)
    with m.factory.begin() as session:
        session.execute(text("INSERT INTO first (id) VALUES (9)"))
        session.execute(text("UPDATE first SET id = 10 WHERE id = 9"))
    assert lifecycle.coverage().unrecorded == ()


def test_a_deletion_that_is_part_of_a_query_is_told_with_what_it_reaches(
    chain: Chain, lifecycle: Lifecycle, engine: Engine
) -> None:
    """Only PostgreSQL has such."""
    if engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL deletes in a common table expression")
    m = chain(not_audited, audited, audited)
    gone = delete(m.First).returning(m.First.id).cte("gone")
    with m.factory.begin() as session, pytest.warns(UnrecordedWriteWarning):
        assert session.scalars(select(gone.c.id)).all() == [1, 2]
    (gap,) = lifecycle.coverage().unrecorded
    assert gap.entities == ("Second", "Third")


class Unreadable(TypeDecorator[str]):
    """Raises for what is in the table."""

    impl = String(20)
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        raise ValueError("no such colour")


@pytest.fixture
def unreadable(base: Any, engine: Engine) -> Any:
    """A parent, and a child with a value that its type does not take back."""

    class Parent(base):
        __tablename__ = "parent"
        id: Mapped[int] = key_column()

    class Child(base):
        __tablename__ = "child"
        id: Mapped[int] = key_column()
        colour: Mapped[str] = mapped_column(Unreadable())
        parent_id: Mapped[int] = refers("parent.id", ondelete="CASCADE")

    base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Parent).values(id=1))
        connection.execute(insert(Child).values(id=1, colour="x", parent_id=1))
    return Parent


@pytest.mark.parametrize("way", ["object", "statement"])
@pytest.mark.parametrize("on_error", ["fail", "report"])
def test_rows_that_cannot_be_read_fail_the_change_or_are_told(
    on_error: Any, way: str, unreadable: Any, engine: Engine
) -> None:
    """As those of the statement itself."""
    lifecycle, factory = Lifecycle(on_error=on_error), sessionmaker(engine)
    lifecycle.create_tables(engine)
    lifecycle.install(factory)

    def delete_it() -> None:
        with factory.begin() as session:
            if way == "object":
                session.delete(session.get_one(unreadable, 1))
            else:
                session.execute(delete(unreadable))

    if on_error == "fail":
        with pytest.raises(RecordingError, match=r"delete of parent .* rows of child"):
            delete_it()
        assert records_since(lifecycle, 0) == []
    else:
        with pytest.warns(UnrecordedWriteWarning, match="they cannot be read"):
            delete_it()
        records = records_since(lifecycle, 0)
        assert sorted(told(records)) == [
            ("bulk", "Child ", "cascade"),
            ("delete", "Parent 1", None),
        ]
        assert [bool(one.error) for one in records if one.operation == "bulk"] == [True]
    lifecycle.uninstall(factory)
