"""What is recorded of statements that pass the unit of work by, on each database.

Every case is a way to write; the records are compared with the tables before and after it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    case,
    delete,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    mapped_column,
    relationship,
    sessionmaker,
)

from lifecycle import Lifecycle
from tests.replaying import State, replayed, state_of


@pytest.fixture
def models(base: type[DeclarativeBase]) -> Any:
    """One class of each kind of table."""
    tagging = Table(
        "tagging",
        base.metadata,
        Column("user_id", ForeignKey("users.id"), primary_key=True),
        Column("tag_id", ForeignKey("tags.id"), primary_key=True),
    )

    class User(base):
        __tablename__ = "users"
        __table_args__ = (UniqueConstraint("email"),)
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None] = mapped_column(String(50))
        email: Mapped[str | None] = mapped_column(String(50))
        points: Mapped[int] = mapped_column(server_default="0")
        renamed: Mapped[str | None] = mapped_column("other_name", String(50), onupdate="again")
        tags: Mapped[list[Any]] = relationship("Tag", secondary=tagging, back_populates="users")

    class Tag(base):
        __tablename__ = "tags"
        id: Mapped[int] = mapped_column(primary_key=True)
        users: Mapped[list[Any]] = relationship("User", secondary=tagging, back_populates="tags")

    class Place(base):
        __tablename__ = "places"
        x: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        y: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
        name: Mapped[str | None] = mapped_column(String(50))

    class Token(base):
        __tablename__ = "tokens"
        id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
        name: Mapped[str | None] = mapped_column(String(50))

    class Animal(base):
        __tablename__ = "animals"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(10))
        name: Mapped[str | None] = mapped_column(String(50))
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}

    class Cat(Animal):
        lives: Mapped[int | None] = mapped_column()
        __mapper_args__ = {"polymorphic_identity": "cat"}

    class Dog(Animal):
        __tablename__ = "dogs"
        id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)
        tricks: Mapped[int | None] = mapped_column()
        __mapper_args__ = {"polymorphic_identity": "dog"}

    return SimpleNamespace(
        User=User, Tag=Tag, Place=Place, Token=Token, Animal=Animal, Cat=Cat, Dog=Dog,
        tagging=tagging, base=base,
    )  # fmt: skip


@pytest.fixture
def factory(models: Any, start: Callable[[], sessionmaker[Session]]) -> sessionmaker[Session]:
    """Three users, two tags, some places and animals."""
    factory = start()
    m = models
    with factory.begin() as session:
        tags = [m.Tag(), m.Tag()]
        session.add_all(tags)
        session.flush()
        session.add_all(
            [
                m.User(name=f"n{n}", email=f"{n}@x", points=n, tags=tags if n == 1 else [])
                for n in (1, 2, 3)
            ]
        )
        session.add_all([m.Place(x=1, y=1, name="a"), m.Place(x=1, y=2, name="b")])
        session.add(m.Token(id=UUID(int=1), name="t"))
        session.add_all([m.Animal(name="a"), m.Cat(name="c", lives=9), m.Dog(name="d", tricks=1)])
    return factory


def upsert(session: Session, table: Any) -> Any:
    """An INSERT that can have an upsert clause, in the words of the session's database."""
    dialect = {"postgresql": postgresql, "sqlite": sqlite}.get(session.get_bind().dialect.name)
    return (dialect or mysql).insert(table)


def on_conflict(session: Session, table: Any, rows: list[dict[str, Any]], **set_: Any) -> None:
    statement = upsert(session, table).values(rows)
    if session.get_bind().dialect.name in ("mysql", "mariadb"):
        session.execute(statement.on_duplicate_key_update(**set_))
    else:
        session.execute(statement.on_conflict_do_update(index_elements=["email"], set_=set_))


def ignoring(session: Session, table: Any, rows: list[dict[str, Any]]) -> None:
    if session.get_bind().dialect.name in ("mysql", "mariadb"):
        session.execute(insert(table).prefix_with("IGNORE").values(rows))
    else:
        session.execute(upsert(session, table).values(rows).on_conflict_do_nothing())


def many(session: Session, m: Any, sync: Any) -> None:
    statement = update(m.User).where(m.User.points > 1).values(name="x", points=m.User.points + 1)
    session.execute(statement, execution_options={"synchronize_session": sync})


def update_alias(session: Session, alias: Any) -> None:
    statement = update(alias).where(alias.points > 1).values(name="x", points=alias.points + 1)
    session.execute(statement, execution_options={"synchronize_session": False})


def update_core_alias(session: Session, alias: Any) -> None:
    session.execute(update(alias).where(alias.c.points > 1).values(name="x"))


def update_two(session: Session, m: Any) -> None:
    users, places = m.User.__table__, m.Place.__table__
    values = {users.c.name: "x", places.c.name: "y"}
    if session.get_bind().dialect.name not in ("mysql", "mariadb"):
        del values[places.c.name]
    session.execute(update(users).where(users.c.points == places.c.y).values(values))


def update_by_another(session: Session, m: Any) -> None:
    """In an UPDATE of MySQL no subquery reads the table."""
    one, other = aliased(m.User), m.User
    if session.get_bind().dialect.name in ("mysql", "mariadb"):
        other = m.Animal
    newer = select(other.id).where(other.id > one.id).exists()
    statement = update(one).where(newer).values(name="older")
    session.execute(statement, execution_options={"synchronize_session": False})


WAYS: dict[str, Callable[[Session, Any], Any]] = {
    # ORM-enabled statements
    "orm insert of one": lambda s, m: s.execute(insert(m.User).values(name="x")),
    "orm insert of one by parameters": lambda s, m: s.execute(insert(m.User), {"name": "x"}),
    "orm insert of one returning it": lambda s, m: s.scalars(
        insert(m.User).values(name="x").returning(m.User)
    ).one(),
    "orm insert of many": lambda s, m: s.execute(
        insert(m.User), [{"name": "x"}, {"name": "y", "renamed": "z"}]
    ),
    "orm insert of many with keys": lambda s, m: s.execute(
        insert(m.Place), [{"x": 5, "y": n} for n in range(3)]
    ),
    "orm insert of many returning them": lambda s, m: s.scalars(
        insert(m.User).returning(m.User), [{"name": "x"}, {"name": "y"}]
    ).all(),
    "orm insert of many returning a column": lambda s, m: s.scalars(
        insert(m.User).returning(m.User.name), [{"name": "x"}, {"name": "y"}]
    ).all(),
    "orm insert of many values": lambda s, m: s.execute(
        insert(m.User).values([{"name": "x"}, {"name": "y"}])
    ),
    "orm insert from a select": lambda s, m: s.execute(
        insert(m.User).from_select(["name", "points"], select(m.User.name, m.User.points + 10))
    ),
    "orm insert with a default key": lambda s, m: s.execute(insert(m.Token).values(name="x")),
    "orm insert of many with default keys": lambda s, m: s.execute(
        insert(m.Token), [{"name": "x"}, {"name": "y"}]
    ),
    "orm insert of a subclass in one table": lambda s, m: s.execute(
        insert(m.Cat), [{"name": "x", "lives": 1}, {"name": "y", "lives": 2}]
    ),
    "orm insert of a subclass in two tables": lambda s, m: s.execute(
        insert(m.Dog), [{"name": "x", "tricks": 1}, {"name": "y", "tricks": 2}]
    ),
    **{
        f"orm update of some, synchronize_session={sync}": lambda s, m, sync=sync: many(s, m, sync)
        for sync in ("auto", "evaluate", "fetch", False)
    },
    "orm update of all": lambda s, m: s.execute(update(m.User).values(name="x")),
    "orm update of none": lambda s, m: s.execute(
        update(m.User).where(m.User.id == 99).values(name="x")
    ),
    "orm update to what it is": lambda s, m: s.execute(
        update(m.Place).where(m.Place.y == 1).values(name="a")
    ),
    "orm update of its own criterion": lambda s, m: s.execute(
        update(m.User).where(m.User.name == "n1").values(name="n2")
    ),
    "orm update of its own key": lambda s, m: s.execute(update(m.Place).values(y=m.Place.y + 10)),
    "orm update by key, many": lambda s, m: s.execute(
        update(m.User),
        [
            {"id": 1, "name": "x"},
            {
                "id": 2,
                "name": "y",
            },
        ],
    ),
    "orm update of an alias": lambda s, m: update_alias(s, aliased(m.User)),
    "orm update of an alias by another of its table": lambda s, m: update_by_another(s, m),
    "orm update of a subclass in one table": lambda s, m: s.execute(
        update(m.Cat).values(name="x", lives=8)
    ),
    "orm update of a base": lambda s, m: s.execute(update(m.Animal).values(name="x")),
    "orm update of a subclass table": lambda s, m: s.execute(update(m.Dog).values(tricks=5)),
    "orm update by key of a subclass in two tables": lambda s, m: s.execute(
        update(m.Dog), [{"id": 3, "name": "x", "tricks": 7}]
    ),
    "orm delete of some": lambda s, m: s.execute(delete(m.Place).where(m.Place.y == 1)),
    "orm delete of all": lambda s, m: s.execute(delete(m.Place)),
    "orm delete by a subquery": lambda s, m: s.execute(
        delete(m.Place).where(m.Place.name.in_(select(literal("a"))))
    ),
    "query update": lambda s, m: s.query(m.User).filter_by(name="n1").update({"name": "x"}),
    "query update with a sql expression": lambda s, m: s.query(m.User).update(
        {m.User.points: m.User.points * 2}
    ),
    "query delete": lambda s, m: s.query(m.Place).filter(m.Place.x == 1).delete(),
    # the bulk methods
    "bulk_save_objects, new": lambda s, m: s.bulk_save_objects(
        [m.User(name="x"), m.User(name="y")]
    ),
    "bulk_save_objects, new with keys back": lambda s, m: s.bulk_save_objects(
        [m.User(name="x"), m.User(name="y")], return_defaults=True
    ),
    "bulk_save_objects, changed": lambda s, m: _bulk_save_changed(s, m),
    "bulk_insert_mappings": lambda s, m: s.bulk_insert_mappings(
        m.User, [{"name": "x"}, {"name": "y"}]
    ),
    "bulk_insert_mappings in two tables": lambda s, m: s.bulk_insert_mappings(
        m.Dog, [{"name": "x", "tricks": 1}]
    ),
    "bulk_update_mappings": lambda s, m: s.bulk_update_mappings(
        m.User, [{"id": 1, "name": "x"}, {"id": 3, "points": 7}]
    ),
    # Core
    "core insert": lambda s, m: s.execute(
        m.User.__table__.insert().values(name="x", other_name="y")
    ),
    "core insert of many": lambda s, m: s.execute(
        m.User.__table__.insert(), [{"name": "x"}, {"name": "y"}]
    ),
    "core insert through the connection": lambda s, m: s.connection().execute(
        m.User.__table__.insert(), {"name": "x"}
    ),
    "core update": lambda s, m: s.execute(
        m.User.__table__.update().where(m.User.__table__.c.points == 2).values(name="x")
    ),
    "core update by parameters": lambda s, m: s.execute(
        m.User.__table__.update().where(m.User.__table__.c.name == bindparam("was")),
        [{"was": "n1", "name": "x"}, {"was": "n2", "name": "y"}],
    ),
    "core update by parameters of an inequality": lambda s, m: s.execute(
        m.User.__table__.update().where(m.User.__table__.c.points >= bindparam("least")),
        [{"least": 2, "name": "x"}, {"least": 3, "name": "y"}],
    ),
    "core update by case": lambda s, m: s.execute(
        m.User.__table__.update().values(
            name=case((m.User.__table__.c.points > 1, "many"), else_="few")
        )
    ),
    "core update of an alias": lambda s, m: update_core_alias(s, m.User.__table__.alias()),
    "core update of two tables, where there is such": lambda s, m: update_two(s, m),
    "core update of a base table": lambda s, m: s.execute(
        m.Animal.__table__.update().values(name="x")
    ),
    "core delete": lambda s, m: s.execute(m.Place.__table__.delete()),
    "core delete by parameters": lambda s, m: s.execute(
        m.Place.__table__.delete().where(
            m.Place.__table__.c.x == bindparam("p"), m.Place.__table__.c.y == bindparam("q")
        ),
        [{"p": 1, "q": 1}, {"p": 1, "q": 9}],
    ),
    "core insert into an association table": lambda s, m: s.execute(
        m.tagging.insert(), [{"user_id": 2, "tag_id": 1}, {"user_id": 2, "tag_id": 2}]
    ),
    "core update of an association table": lambda s, m: s.execute(
        m.tagging.update().where(m.tagging.c.tag_id == 2).values(user_id=3)
    ),
    "core delete from an association table": lambda s, m: s.execute(m.tagging.delete()),
    # upserts
    "upsert that updates and inserts": lambda s, m: on_conflict(
        s, m.User, [{"email": "1@x", "name": "u"}, {"email": "new", "name": "u"}], name="x"
    ),
    "upsert of one that updates its own conflict": lambda s, m: on_conflict(
        s, m.User, [{"email": "1@x"}], email="moved"
    ),
    "upsert into the table": lambda s, m: on_conflict(
        s, m.User.__table__, [{"email": "2@x"}], points=7
    ),
    "insert or ignore": lambda s, m: ignoring(
        s, m.User, [{"email": "1@x", "name": "no"}, {"email": "new", "name": "yes"}]
    ),
    "insert or ignore by key": lambda s, m: ignoring(
        s, m.Place, [{"x": 1, "y": 1, "name": "no"}, {"x": 9, "y": 9, "name": "yes"}]
    ),
}


def _bulk_save_changed(session: Session, m: Any) -> None:
    user = session.get_one(m.User, 1)
    session.expunge(user)
    user.name = "x"
    session.bulk_save_objects([user])


@pytest.mark.parametrize("way", WAYS)
def test_every_row_is_recorded_with_its_true_old_and_new_values(
    way: str, models: Any, factory: sessionmaker[Session], lifecycle: Lifecycle
) -> None:
    """The records applied to the tables as they were give the tables as they are."""
    with factory() as session:
        before = tables(session, models)
    known = sum(1 for _ in lifecycle.history.find())
    with factory.begin() as session:
        WAYS[way](session, models)
    with factory() as session:
        after = tables(session, models)
    new = list(lifecycle.history.find(newest_first=False))[known:]
    assert replayed(before, new) == after
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    recorded = {(record.entity, record.key) for record in new}
    assert recorded == {key for key in changed if key in after or key in recorded}


def tables(session: Session, m: Any) -> State:
    """Everything the tables hold, as the log would have it."""
    return state_of(
        session,
        (m.User, m.Tag, m.Token, m.Animal, m.Place),
        (
            (m.User, "tags", m.tagging.c.user_id, m.tagging.c.tag_id),
            (m.Tag, "users", m.tagging.c.tag_id, m.tagging.c.user_id),
        ),
    )


def test_statements_on_a_class_that_is_queried_with_its_subclasses(
    base: type[DeclarativeBase],
    start: Callable[[], sessionmaker[Session]],
    lifecycle: Lifecycle,
) -> None:
    class Tool(base):
        __tablename__ = "tools"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(10))
        name: Mapped[str | None] = mapped_column(String(50))
        __mapper_args__ = {
            "polymorphic_on": "kind",
            "polymorphic_identity": "tool",
            "with_polymorphic": "*",
        }

    class Drill(Tool):
        __tablename__ = "drills"
        id: Mapped[int] = mapped_column(ForeignKey("tools.id"), primary_key=True)
        speed: Mapped[int | None] = mapped_column()
        __mapper_args__ = {"polymorphic_identity": "drill"}

    factory = start()
    with factory.begin() as session:
        session.add_all([Tool(id=1, name="a"), Tool(id=2, name="b"), Drill(id=3, name="c")])
    with factory.begin() as session:
        session.execute(update(Tool).values(name=Tool.name + "!"))
        session.execute(update(Tool).where(Tool.id == 2).values(name="x"))
        session.execute(delete(Tool).where(Tool.id == 1))
    with factory() as session:
        after = state_of(session, [Tool])
    assert replayed({}, lifecycle.history.find(newest_first=False)) == after
    assert lifecycle.coverage().unrecorded == ()
