"""What becomes of those that refer to an object when it is deleted, over the database's border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError
from sqlalchemy import create_engine, delete, insert, select, text
from sqlalchemy.exc import OperationalError

from lifecycle import ABSENT, ReferenceOne, Veto, post_commit, pre_remove
from lifecycle.behaviours import soft_delete
from lifecycle.errors import ConfigurationError, MissingReference, StillReferenced
from tests.behaviours.conftest import DocumentWorld, SqlWorld
from tests.behaviours.linking import Link, linked, questions

PAIRS = ("sqlite-mongo", "mongo-postgresql", "postgresql-sqlite", "mysql-mongo")


class Deleting:
    """Sources that refer to targets, with one way to go on when these are deleted."""

    def __init__(self, link: Link, on_delete: Any) -> None:
        self.link, self.near, self.far = link, link.near, link.far

        class ToTarget:
            target: ReferenceOne[Any] = ReferenceOne("Target", "target_id", on_delete=on_delete)

        self.Source = link.near.model("Source", mixin=ToTarget, name="text", target_id="text")
        self.Target = link.far.model("Target", name="text")
        link.install()
        self.targets = [self.far.new(self.Target, name=f"t{n}") for n in range(2)]
        found = self.far.find(self.Target)
        with self.near.transaction():
            for n in range(4):
                source = self.Source(name=f"s{n}")
                source.target = found[n % 2]
                self.near.add(source)

    def delete(self, n: int = 0) -> None:
        """Delete a target, in a transaction of its own."""
        with self.far.transaction():
            self.far.delete(self.far.one(self.Target, self.targets[n]))

    def sources(self) -> list[tuple[str, str | None]]:
        """The sources there are, with what they refer to."""
        return [(one.name, one.target_id) for one in self.near.find(self.Source)]

    @property
    def before(self) -> list[tuple[str, str | None]]:
        """The sources as they were made."""
        return [(f"s{n}", str(self.targets[n % 2])) for n in range(4)]

    def dangling(self) -> list[str]:
        """What is reported as referring to what is not there."""
        return [
            f"{one.entity} {one.identifier}"
            for one in self.link.lifecycle.references.check(self.Source)
        ]


Make = Callable[[Any], Deleting]


@pytest.fixture(params=PAIRS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes the models, given what they say."""
    with linked(request, request.param) as link:
        yield lambda on_delete: Deleting(link, on_delete)


@pytest.fixture
def make_documents(request: pytest.FixtureRequest) -> Iterator[Make]:
    """The same for rows that refer to documents."""
    with linked(request, "sqlite-mongo") as link:
        yield lambda on_delete: Deleting(link, on_delete)


@pytest.fixture
def make_rows(request: pytest.FixtureRequest) -> Iterator[Make]:
    """The same for documents that refer to rows."""
    with linked(request, "mongo-sqlite") as link:
        yield lambda on_delete: Deleting(link, on_delete)


def test_nothing_leaves_them_and_they_are_reported(make: Make) -> None:
    """That is what Gedmo does, without the report."""
    made = make("nothing")
    made.delete()
    assert made.sources() == made.before
    assert made.dangling() == [f"Source {made.targets[0]}"] * 2


def test_nullify_takes_the_identifier_away_and_is_recorded(make: Make) -> None:
    """Of those that refer to it, and of no others."""
    made = make("nullify")
    made.delete()
    kept = str(made.targets[1])
    assert made.sources() == [("s0", None), ("s1", kept), ("s2", None), ("s3", kept)]
    assert made.dangling() == []
    newest = next(made.link.lifecycle.history.of("Source", made.near.find(made.Source)[0].id))
    assert newest.changes["target_id"].new in (None, ABSENT)


def test_cascade_deletes_them_with_their_hooks_and_is_recorded(make: Make) -> None:
    """In the other database, after the deletion is committed."""
    made, seen = make("cascade"), []

    @made.link.lifecycle.subscribe
    @pre_remove(made.Source)
    def note(event: Any) -> None:
        seen.append(event.instance.name)

    made.delete()
    assert [name for name, _ in made.sources()] == ["s1", "s3"]
    assert seen == ["s0", "s2"]
    removed = [one for one in made.link.near.records() if str(one.operation) == "delete"]
    assert "Source" in {one.entity for one in removed}
    assert made.dangling() == []


def test_restrict_refuses_before_anything_is_deleted(make: Make) -> None:
    """Until nothing refers to it any more."""
    made = make("restrict")
    with pytest.raises(StillReferenced, match=r"Target \w+ cannot be deleted, for Source \w+ ref"):
        made.delete()
    assert len(made.far.find(made.Target)) == 2
    with made.near.transaction():
        for source in made.near.find(made.Source):
            source.target = None
            made.near.save(source)
    made.delete()
    assert len(made.far.find(made.Target)) == 1


def test_many_deletions_of_a_flush_are_one_question(request: pytest.FixtureRequest) -> None:
    """Not one for each object."""
    with linked(request, "mongo-sqlite") as link:
        made = Deleting(link, "restrict")
        made.Source.drop_collection()
        with questions(made.near, made.Source) as asked, made.far.transaction() as session:
            for target in made.far.find(made.Target):
                session.delete(target)
        assert len(asked) == 1
        assert made.far.find(made.Target) == []


def test_what_is_refused_leaves_the_session_usable(make_rows: Make) -> None:
    """It is a veto."""
    made = make_rows("restrict")
    assert isinstance(made.far, SqlWorld)
    with made.far.factory() as session:
        target = session.get(made.Target, made.targets[0])
        session.delete(target)
        with pytest.raises(Veto):
            session.flush()
        session.expunge(target)
        session.get(made.Target, made.targets[1]).name = "still"
        session.commit()
    assert made.far.read(made.Target, made.targets[1], "name") == "still"


def test_a_rolled_back_deletion_changes_nothing(make_rows: Make) -> None:
    """Nullify and cascade wait for the commit."""
    made = make_rows("cascade")
    assert isinstance(made.far, SqlWorld)
    with made.far.factory() as session:
        session.delete(session.get(made.Target, made.targets[0]))
        session.flush()
        session.rollback()
    assert made.sources() == made.before


@pytest.mark.parametrize("on_delete", ["restrict", "nullify", "cascade"])
def test_nothing_is_deleted_while_the_documents_cannot_be_reached(
    make_rows: Make, on_delete: str
) -> None:
    """They are asked before anything is written; here nobody listens at their server's address."""
    made = make_rows(on_delete)
    nowhere: Any = MongoClient("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50")
    collection = made.Source._get_collection()
    made.Source._collection = nowhere["nobody"]["here"]
    try:
        with pytest.raises(ServerSelectionTimeoutError):
            made.delete()
    finally:
        made.Source._collection = collection
        nowhere.close()
    assert len(made.far.find(made.Target)) == 2
    assert made.sources() == made.before


@pytest.mark.parametrize("on_delete", ["restrict", "cascade"])
def test_nothing_is_deleted_while_the_rows_cannot_be_reached(
    request: pytest.FixtureRequest, on_delete: str
) -> None:
    """The same the other way round: here their server refuses the connection."""
    with linked(request, "postgresql-sqlite") as link:
        made = Deleting(link, on_delete)
        assert isinstance(made.near, SqlWorld)
        url = made.near.engine.url
        made.near.engine.dispose()
        server = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false"))
            try:
                with pytest.raises(OperationalError, match="not currently accepting connections"):
                    made.delete()
            finally:
                connection.execute(text(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS true"))
        server.dispose()
        assert len(made.far.find(made.Target)) == 2
        assert made.sources() == made.before


@pytest.mark.parametrize(
    ("on_delete", "after"), [("nullify", [None, "1", None, "1"]), ("cascade", ["1", "1"])]
)
def test_what_a_crash_after_the_commit_leaves_is_found_and_repaired(
    make_rows: Make, on_delete: str, after: list[str | None]
) -> None:
    """The deletion stands, and what was to follow it is made good from what was declared."""
    made = make_rows(on_delete)
    references = made.link.lifecycle.references

    @made.link.lifecycle.subscribe
    @post_commit(made.Target, priority=1)
    def crash(event: Any) -> None:
        raise KeyboardInterrupt  # which no hook isolation holds

    with pytest.raises(KeyboardInterrupt):
        made.delete()
    assert len(made.far.find(made.Target)) == 1
    assert made.sources() == made.before
    assert len(made.dangling()) == 2
    repaired = list(references.check(made.Source, repair="declared"))
    done = "delete" if on_delete == "cascade" else "nullify"
    assert [one.repaired for one in repaired] == [done] * 2
    found = [one and str(made.targets.index(int(one))) for _, one in made.sources()]
    assert found == after
    assert made.dangling() == []


def test_those_that_go_along_do_not_hold_it_back(request: pytest.FixtureRequest) -> None:
    """When both are in one session, over two databases or one, and are deleted in one flush."""
    with linked(request, "sqlite-mongo") as link:
        near = link.near
        assert isinstance(near, SqlWorld)

        class ToTarget:
            target: ReferenceOne[Any] = ReferenceOne("Target", "target_id", on_delete="restrict")

        source = near.model("Source", mixin=ToTarget, target_id="number")
        target = near.model("Target", name="text")
        link.install()
        with near.transaction() as session:
            one = near.add(target(name="t"))
            near.add(source(target=one))
        with near.transaction() as session:
            found = session.scalars(select(target)).one(), session.scalars(select(source)).one()
            for one in found:
                session.delete(one)
        assert near.find(target) == []
        identifier = near.new(target, name="t")
        with near.factory() as session:
            session.delete(session.get(target, identifier))
            session.add(source(target_id=identifier))
            with pytest.raises(StillReferenced):
                session.flush()


@pytest.mark.parametrize("pair", ["sqlite-mongo", "mongo-sqlite"])
def test_what_is_marked_as_deleted_is_missing_but_does_not_dangle(
    request: pytest.FixtureRequest, pair: str
) -> None:
    """On either side: a repair takes nothing away that an undelete would bring back."""
    with linked(request, pair) as link:
        mixin = type("M", (), {"target": ReferenceOne("Target", "target_id")})
        source = link.near.model(
            "Source", soft_delete, mixin=mixin, target_id="text", deleted_at="time"
        )
        target = link.far.model("Target", soft_delete, name="text", deleted_at="time")
        link.install()
        identifier = link.far.new(target, name="t")
        kept = link.near.new(source, target_id=str(identifier))
        marked = link.near.new(source, target_id=str(identifier))
        with link.far.transaction():
            link.far.delete(link.far.one(target, identifier))
        with pytest.raises(MissingReference):
            link.near.read(source, kept, "target")
        assert list(link.lifecycle.references.check(source)) == []
        with link.near.transaction():
            link.near.delete(link.near.one(source, marked))
        with link.far.transaction() as session:
            if session is None:
                target._get_collection().delete_many({})
            else:
                session.execute(delete(target.__table__))
        assert [one.key for one in link.lifecycle.references.check(source)] == [str(kept)]


def test_more_than_one_portion_is_nulled(make_documents: Make) -> None:
    """Each commits by itself."""
    made = make_documents("nullify")
    assert isinstance(made.near, SqlWorld)
    with made.near.transaction() as session:
        session.execute(
            insert(made.Source),
            [{"name": "x", "target_id": str(made.targets[0])}] * 1_100,
        )
    made.delete()
    assert made.dangling() == []
    assert [one.target_id for one in made.near.find(made.Source, name="x")] == [None] * 1_100


def test_what_is_declared_wrongly_is_refused() -> None:
    """Where it is written."""
    with pytest.raises(ConfigurationError, match="use one of nothing, restrict, nullify, cascade"):
        ReferenceOne("Target", "target_id", on_delete="delete")  # type: ignore[arg-type]


def test_documents_are_documents(make_documents: Make) -> None:
    """The worlds are what the tests above take them for."""
    made = make_documents("nothing")
    assert isinstance(made.near, SqlWorld)
    assert isinstance(made.far, DocumentWorld)
