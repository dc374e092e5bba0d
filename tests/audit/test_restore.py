"""Laws of the log and of restoring, on random work; and restores over both mappers."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import mongoengine
import pytest
from msgspec.structs import replace
from sqlalchemy import Column, Engine, ForeignKey, String, Table, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.orm import sessionmaker as factory_of

from lifecycle import Lifecycle, Veto, acting, pre_update
from lifecycle.audit.records import Revision
from lifecycle.errors import RestoreConflict
from tests.replaying import State, state_of


class Base(DeclarativeBase):
    """The base of these tests' models."""


lent: Final = Table(
    "law_lent",
    Base.metadata,
    Column("reader_id", ForeignKey("law_reader.id"), primary_key=True),
    Column("title_id", ForeignKey("law_title.id"), primary_key=True),
)


class LawReader(Base):
    """One to many with orphans, one of them the favourite, and many to many."""

    __tablename__ = "law_reader"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(20), unique=True)
    age: Mapped[int | None]
    friend_id: Mapped[int | None] = mapped_column(ForeignKey("law_reader.id"))
    friend: Mapped[LawReader | None] = relationship(remote_side=[id], post_update=True)
    notes: Mapped[list[LawNote]] = relationship(cascade="all, delete-orphan")
    titles: Mapped[set[LawTitle]] = relationship(secondary=lent, back_populates="readers")


class LawNote(Base):
    """A key with a foreign key in it."""

    __tablename__ = "law_note"
    reader_id: Mapped[int] = mapped_column(ForeignKey("law_reader.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    words: Mapped[str | None] = mapped_column(String(20))


class LawTitle(Base):
    """The other end of many to many."""

    __tablename__ = "law_title"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(20))
    readers: Mapped[set[LawReader]] = relationship(secondary=lent, back_populates="titles")


COLLECTIONS: Final = (
    (LawReader, "titles", lent.c.reader_id, lent.c.title_id),
    (LawTitle, "readers", lent.c.title_id, lent.c.reader_id),
)


class Work:
    """Random transactions on these models, and what the tables held after each."""

    def __init__(self, engine: Engine, lifecycle: Lifecycle, seed: int) -> None:
        self.random = Random(seed)
        self.lifecycle = lifecycle
        self.factory = factory_of(engine)
        lifecycle.install(self.factory)
        self.number = 0
        self.done: list[tuple[Revision, State]] = []

    def state(self) -> State:
        """What all tables hold."""
        with self.factory() as session:
            return state_of(session, [LawReader, LawNote, LawTitle], COLLECTIONS)

    def next(self) -> int:
        """A key nobody has had."""
        self.number += 1
        return self.number

    def transact(self) -> None:
        """Write something, and note the last revision of it and what there is then."""
        with acting("law"):
            self.write()
        newest = next(self.lifecycle.history.find(), None)
        if newest is not None and (not self.done or newest.revision != self.done[-1][0]):
            self.done.append((newest.revision, self.state()))

    def write(self) -> None:
        """A transaction of some steps, in one flush or several."""
        steps = (self.insert, self.insert, self.update, self.note, self.lend, self.delete)
        with self.factory.begin() as session:
            for _ in range(self.random.randint(1, 5)):
                self.random.choice(steps)(session)
                if self.random.random() < 0.5:
                    session.flush()

    def any(self, session: Session, cls: Any) -> Any:
        """Some object of a class, if there is one."""
        found = session.scalars(select(cls)).all()
        return self.random.choice(found) if found else None

    def insert(self, session: Session) -> None:
        number = self.next()
        if self.random.random() < 0.4:
            session.add(LawTitle(id=number, name=f"t{number}"))
        else:
            friend = self.any(session, LawReader)
            session.add(LawReader(id=number, name=f"r{number}", friend=friend))

    def update(self, session: Session) -> None:
        found = self.any(session, self.random.choice([LawReader, LawNote, LawTitle]))
        if isinstance(found, LawNote):
            found.words = self.random.choice([None, "a", "b"])
        elif isinstance(found, LawTitle):
            found.name = self.random.choice([None, "x", "y"])
        elif found is not None:
            found.age = self.random.randint(1, 3)
            found.friend = self.any(session, LawReader)

    def note(self, session: Session) -> None:
        reader = self.any(session, LawReader)
        if reader is not None:
            if reader.notes and self.random.random() < 0.4:
                reader.notes.pop()
            else:
                reader.notes.append(LawNote(number=self.next(), words="n"))

    def lend(self, session: Session) -> None:
        reader, title = self.any(session, LawReader), self.any(session, LawTitle)
        if reader is not None and title is not None:
            (reader.titles.discard if title in reader.titles else reader.titles.add)(title)

    def delete(self, session: Session) -> None:
        found = self.any(session, self.random.choice([LawReader, LawTitle]))
        if isinstance(found, LawReader):
            for other in session.scalars(select(LawReader).where(LawReader.friend == found)):
                other.friend = None
            session.flush()
        if found is not None:
            session.delete(found)


@pytest.fixture
def work(request: pytest.FixtureRequest) -> Iterator[Callable[[str, int], Work]]:
    """Makes the work of a seed on a database."""
    made: list[Work] = []

    def make(database: str, seed: int) -> Work:
        gc.collect()
        engine = request.getfixturevalue(f"{database}_engine")
        Base.metadata.create_all(engine)
        lifecycle = Lifecycle()
        lifecycle.create_tables(engine)
        made.append(Work(engine, lifecycle, seed))
        return made[-1]

    yield make
    for one in made:
        one.lifecycle.uninstall(one.factory)


MORE: Final = range(10, 60 if os.environ.get("LIFECYCLE_SOAK") else 10)
SEEDS: Final = [
    ("sqlite", 3),
    ("sqlite", 4),
    ("postgresql", 5),
    ("mysql", 6),
    *[(name, seed) for name in ("sqlite", "postgresql", "mysql") for seed in MORE],
]


def without_empty(values: Any) -> dict[str, Any]:
    """A state's values; of collections the tables tell only those that hold something."""
    return {name: value for name, value in values.items() if value != frozenset()}


@pytest.mark.parametrize(("database", "seed"), SEEDS)
def test_as_of_any_revision_is_a_copy_taken_then(
    work: Callable[[str, int], Work], database: str, seed: int
) -> None:
    """After every prefix of the work: of every object of every class, all at once and each."""
    worked = work(database, seed)
    for _ in range(15):
        worked.transact()
    history = worked.lifecycle.history
    revisions = [revision for revision, _ in worked.done]
    for cls in (LawReader, LawNote, LawTitle):
        snapshots = history.snapshots(cls, revisions)
        for (revision, copy), snapshot in zip(worked.done, snapshots, strict=True):
            expected = {key: copy[entity, key] for entity, key in copy if entity == cls.__name__}
            found = {key: without_empty(state.values) for key, state in snapshot.items()}
            assert found == expected, revision
            for key in expected:
                state = history.as_of(cls.__name__, key, revision)
                assert state is not None
                assert without_empty(state.values) == expected[key]


@pytest.mark.parametrize(("database", "seed"), SEEDS)
def test_undoing_everything_in_reverse_gives_the_empty_start(
    work: Callable[[str, int], Work], database: str, seed: int
) -> None:
    """Each step of the way is the state before; and an undo of an undo the state after."""
    worked = work(database, seed)
    for _ in range(10):
        worked.transact()
    undo_everything(worked)


def undo_everything(worked: Work) -> None:
    """Undo the work from its end; each undo is undone, and that too, on the way."""
    assert worked.done
    restore = worked.lifecycle.restore
    copies: list[State] = [{}, *(copy for _, copy in worked.done)]
    while worked.done:
        revision, after = worked.done.pop()
        copies.pop()
        undone = restore.undo(revision)
        assert worked.state() == copies[-1], restore.preview(undo=revision)
        again = restore.undo(undone)
        assert worked.state() == after
        restore.undo(again)
        assert worked.state() == copies[-1]
    assert worked.state() == {}


# --- over both mappers ---


class LawPage(mongoengine.Document):
    """A document beside the rows."""

    number = mongoengine.IntField(primary_key=True)
    words = mongoengine.StringField()
    tags = mongoengine.ListField(mongoengine.StringField())
    meta = {"collection": "law_page"}


@pytest.fixture
def both(engine: Engine, mongo: Any) -> Iterator[Any]:
    """A Lifecycle on both mappers, and a session factory."""
    gc.collect()
    Base.metadata.create_all(engine)
    lifecycle = Lifecycle(store=engine)
    lifecycle.create_tables(engine)
    factory = factory_of(engine)
    lifecycle.install(factory)
    lifecycle.install(LawPage)
    yield lifecycle, factory
    lifecycle.uninstall(LawPage)
    lifecycle.uninstall(factory)


class WorkOnBoth(Work):
    """The same with documents beside the rows, in the same blocks."""

    def write(self) -> None:
        super().write()
        for _ in range(self.random.randint(0, 2)):
            page = self.random.choice([*LawPage.objects, None])
            if page is None:
                LawPage(number=self.next(), words="a", tags=["x"]).save()
            elif self.random.random() < 0.3:
                page.delete()
            else:
                page.words = self.random.choice([None, "b", "c"])
                page.tags.insert(0, str(self.next()))
                page.save()

    def state(self) -> State:
        """What all tables and the collection hold."""
        found = super().state()
        for son in LawPage._get_collection().find():
            found["LawPage", str(son.pop("_id"))] = son
        return found


def test_undoing_everything_on_both_mappers_gives_the_empty_start(both: Any) -> None:
    """What one block wrote to rows and documents goes, and comes back, together."""
    lifecycle, factory = both
    lifecycle.uninstall(factory)
    worked = WorkOnBoth(factory.kw["bind"], lifecycle, 7)
    try:
        for _ in range(10):
            worked.transact()
        entities = {record.entity for record in lifecycle.history.find()}
        assert entities >= {"LawPage", "LawReader", "LawTitle"}
        undo_everything(worked)
    finally:
        lifecycle.uninstall(worked.factory)
        lifecycle.install(factory)


def test_rows_and_documents_are_put_back_together(both: Any) -> None:
    """One group joins what the restore wrote to both databases; one undo takes it all back."""
    lifecycle, factory = both
    with factory.begin() as session:
        session.add(LawTitle(id=1, name="a"))
    page = LawPage(number=1, words="a").save()
    with factory.begin() as session:
        session.get_one(LawTitle, 1).name = "b"
    page.words = "b"
    page.save()
    changes = [next(lifecycle.history.of(LawTitle, 1)), next(lifecycle.history.of(page))]

    def there() -> tuple[Any, Any]:
        with factory() as session:
            return session.get_one(LawTitle, 1).name, LawPage.objects.get(number=1).words

    restored = lifecycle.restore.undo(changes)
    assert there() == ("a", "a")
    [note] = lifecycle.restore.preview(undo=restored).notes
    assert note.startswith("2 revisions are undone as one")
    records = list(lifecycle.history.find(group=restored.group))
    assert all(str(record.revision.id) in note for record in records)
    assert {record.entity for record in records} == {"LawTitle", "LawPage"}
    assert len({record.revision.id for record in records}) == 2
    lifecycle.restore.undo(restored)
    assert there() == ("b", "b")


def test_rows_stay_when_a_document_is_refused(both: Any) -> None:
    """Documents come last, right before the commit of the rows; SQLite has to commit before."""
    lifecycle, factory = both
    with factory.begin() as session:
        session.add(LawTitle(id=1, name="a"))
    page = LawPage(number=1, words="a").save()
    with factory.begin() as session:
        session.get_one(LawTitle, 1).name = "b"
    page.words = "b"
    page.save()
    changes = [next(lifecycle.history.of(LawTitle, 1)), next(lifecycle.history.of(page))]

    @lifecycle.subscribe
    @pre_update(LawPage)
    def no(event: Any) -> None:
        raise Veto("not this one")

    with pytest.raises(Veto, match="not this one") as refused:
        lifecycle.restore.undo(changes)
    with factory() as session:
        kept = session.get_one(LawTitle, 1).name == "b"
    assert kept is (factory.kw["bind"].dialect.name != "sqlite")
    assert kept is not any("committed" in note for note in refused.value.__notes__)


def test_an_entity_nobody_has_any_more_is_a_conflict(both: Any) -> None:
    """It names what is missing."""
    lifecycle, factory = both
    with factory.begin() as session:
        session.add(LawTitle(id=1))
    record = next(lifecycle.history.find())
    with pytest.raises(RestoreConflict, match="no installed model has this name"):
        lifecycle.restore.undo([replace(record, entity="Gone")])
