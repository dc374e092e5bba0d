"""Intents of bulk writes: what a crash leaves of a portion, and how it is settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import wraps
from typing import Any

import mongoengine
import pytest
from bson import ObjectId
from mongoengine import fields
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import AutoReconnect, BulkWriteError

from lifecycle import ABSENT, UNKNOWN, Change, Lifecycle, acting, audited
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import RecordingError, StoreError
from lifecycle.verdicts import Answer

NOW = timedelta(seconds=-1)


@audited(label="name", mask={"pin"})
class Quay(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    ship = fields.StringField(db_field="s")
    depth = fields.IntField()
    pin = fields.StringField()


class Crane(mongoengine.Document):
    tons = fields.IntField()


class Killed(BaseException):
    """The process is killed here."""


@pytest.fixture
def lifecycle(mongo: Database[Any]) -> Iterator[Lifecycle]:
    """A Lifecycle that tells its log of each write beforehand."""
    lifecycle = Lifecycle(store=MemoryStore())
    lifecycle.install(mongoengine)
    yield lifecycle
    lifecycle.uninstall(mongoengine)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Kills a bulk write before the server gets its nth command, or before it answers that."""

    def killed(write: Callable[[], Any], method: str, when: str, nth: int = 1) -> None:
        real = getattr(Collection, method)
        calls = 0

        @wraps(real)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth and when == "before":
                raise Killed
            result = real(self, *args, **kwargs)
            if calls == nth:
                raise Killed
            return result

        with monkeypatch.context() as patched:
            patched.setattr(Collection, method, call)
            with pytest.raises(Killed):
                write()

    return killed


def intents(lifecycle: Lifecycle) -> list[Any]:
    store = lifecycle.store
    assert isinstance(store, MemoryStore)
    return list(store.intents())


def answers(lifecycle: Lifecycle, **options: Any) -> list[str]:
    return [one.answer.value for one in lifecycle.reconcile(**{"older_than": NOW, **options})]


def changes(lifecycle: Lifecycle, key: str = "a") -> dict[str, Any]:
    record = next(lifecycle.history.of(Quay, key))
    return {**record.changes, "": record.operation.value}


def quays(*names: str, **values: Any) -> None:
    Quay.objects.insert([Quay(**{"name": name, "depth": 1, **values}) for name in names])


def in_bulk(*requests: Any) -> Any:
    return Quay._get_collection().bulk_write([*requests])


WRITES: dict[str, tuple[str, Callable[[], Any], dict[str, Any]]] = {
    "update": (
        "update_many",
        lambda: Quay.objects.update(depth=2),
        {"depth": Change(1, 2), "": "update"},
    ),
    "update by the server": (
        "update_many",
        lambda: Quay.objects.update(inc__depth=1),
        {"depth": Change(1, UNKNOWN), "": "update"},
    ),
    "delete": (
        "delete_many",
        lambda: Quay.objects.delete(),
        {"name": Change("a", ABSENT), "depth": Change(1, ABSENT), "": "delete"},
    ),
    "update_one": (
        "find_one_and_update",
        lambda: Quay.objects(name="a").update_one(depth=2),
        {"depth": Change(1, 2), "": "update"},
    ),
    "Document.update": (
        "find_one_and_update",
        lambda: Quay(name="a").update(depth=2),
        {"depth": Change(1, 2), "": "update"},
    ),
    "replace_one": (
        "find_one_and_replace",
        lambda: Quay._get_collection().replace_one({"_id": "a"}, {"s": "Ann"}),
        {"depth": Change(1, ABSENT), "ship": Change(ABSENT, "Ann"), "": "update"},
    ),
    "delete_one": (
        "find_one_and_delete",
        lambda: Quay._get_collection().delete_one({"_id": "a"}),
        {"name": Change("a", ABSENT), "depth": Change(1, ABSENT), "": "delete"},
    ),
    "bulk_write": (
        "bulk_write",
        lambda: Quay._get_collection().bulk_write(
            [UpdateOne({"_id": "a"}, {"$set": {"depth": 2}})]
        ),
        {"depth": Change(1, 2), "": "update"},
    ),
    "bulk_write, replace": (
        "bulk_write",
        lambda: in_bulk(ReplaceOne({"_id": "a"}, {"depth": 2})),
        {"depth": Change(1, 2), "": "update"},
    ),
    "bulk_write, inc": (
        "bulk_write",
        lambda: Quay._get_collection().bulk_write(
            [UpdateOne({"_id": "a"}, {"$inc": {"depth": 2}})]
        ),
        {"depth": Change(1, UNKNOWN), "": "update"},
    ),
    "bulk_write, delete": (
        "bulk_write",
        lambda: in_bulk(DeleteOne({"_id": "a"})),
        {"name": Change("a", ABSENT), "depth": Change(1, ABSENT), "": "delete"},
    ),
    "bulk_write, several on one": (
        "bulk_write",
        lambda: in_bulk(
            UpdateMany({}, {"$inc": {"depth": 2}}), UpdateOne({"_id": "a"}, {"$set": {"depth": 9}})
        ),
        {"depth": Change(1, UNKNOWN), "": "update"},
    ),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_bulk_write_is_told_by_its_documents(
    lifecycle: Lifecycle, killed: Callable[..., None], what: str
) -> None:
    """If it was made it is recorded, as whoever made it; if not, it is forgotten."""
    method, write, expected = WRITES[what]
    quays("a")

    killed(write, method, "before")
    assert answers(lifecycle) == ["removed"]
    assert changes(lifecycle)[""] == "insert"

    with acting("ann"):
        killed(write, method, "after")
    assert answers(lifecycle, dry_run=True) == answers(lifecycle) == ["confirmed"]
    assert changes(lifecycle) == expected
    assert next(lifecycle.history.of(Quay, "a")).actor == "ann"
    assert intents(lifecycle) == []


@pytest.mark.parametrize("what", WRITES)
def test_a_bulk_write_that_went_well_leaves_no_intent(lifecycle: Lifecycle, what: str) -> None:
    """Also one that finds nothing, or changes nothing."""
    quays("a")
    for _ in range(2):
        WRITES[what][1]()
    assert intents(lifecycle) == []
    Quay.objects.delete()
    WRITES[what][1]()
    assert intents(lifecycle) == []


def test_what_the_server_made_of_it_is_said_not_to_be_known(
    lifecycle: Lifecycle, killed: Callable[..., None]
) -> None:
    """By the record's error."""
    quays("a")
    killed(lambda: Quay.objects.update(inc__depth=1), "update_many", "after")
    assert answers(lifecycle) == ["confirmed"]
    error = next(lifecycle.history.of(Quay, "a")).error
    assert error is not None
    assert "before it could read" in error


def test_inserts_are_told_by_their_ids(lifecycle: Lifecycle, killed: Callable[..., None]) -> None:
    """Which they get before they are announced."""
    killed(lambda: Crane.objects.insert(Crane(tons=1)), "insert_one", "after")
    killed(lambda: Crane.objects.insert([Crane(tons=2), Crane(tons=3)]), "insert_many", "after")
    killed(
        lambda: Crane._get_collection().bulk_write([InsertOne({"tons": 4})]), "bulk_write", "after"
    )
    killed(lambda: Crane.objects.insert([Crane(tons=5)]), "insert_many", "before")

    assert answers(lifecycle) == ["confirmed", "confirmed", "confirmed", "removed"]
    found = [record.changes["tons"].new for record in lifecycle.history.find(Crane)]
    assert sorted(found) == [1, 2, 3, 4]
    keys = {record.key for record in lifecycle.history.find(Crane)}
    assert keys == {str(one["_id"]) for one in Crane._get_collection().find()}
    assert all(map(ObjectId.is_valid, keys))


def test_a_portion_is_an_intent_and_only_the_last_one_is_left(
    lifecycle: Lifecycle, killed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before it are recorded, and of those after it nothing is written."""
    monkeypatch.setattr("lifecycle.mappers.mongoengine.portions.CHUNK", 2)
    quays(*"abcdef")
    killed(lambda: Quay.objects.update(depth=2), "update_many", "after", nth=2)

    [left] = intents(lifecycle)
    assert len(left.records) == 2
    assert answers(lifecycle) == ["confirmed"]
    updated = [one for one in lifecycle.history.find(Quay) if one.operation == "update"]
    assert len(updated) == Quay.objects(depth=2).count() == 4
    assert len({one.revision.group for one in updated}) == 1


def test_of_a_portion_that_was_written_in_part_that_part_is_recorded(
    lifecycle: Lifecycle, killed: Callable[..., None], mongo: Database[Any]
) -> None:
    """As when the server itself goes down on the way."""
    quays(*"abc")
    killed(lambda: Quay.objects.update(depth=2), "update_many", "before")
    mongo.quay.update_many({"_id": {"$in": ["a", "c"]}}, {"$set": {"depth": 2}})

    settled = lifecycle.reconcile(older_than=NOW)
    found = [(one.answer.value, "".join(record.key for record in one.records)) for one in settled]
    assert found == [("confirmed", "ac"), ("removed", "b")]
    assert [changes(lifecycle, key)[""] for key in "abc"] == ["update", "insert", "update"]
    assert intents(lifecycle) == []


def test_what_the_network_lost_is_reconciled(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether the server has made it, so the intent stays."""
    quays("a")
    real = Collection.update_many

    @wraps(real)
    def lost(self: Any, *args: Any, **kwargs: Any) -> Any:
        real(self, *args, **kwargs)
        raise AutoReconnect("connection closed")

    with monkeypatch.context() as patched:
        patched.setattr(Collection, "update_many", lost)
        with pytest.raises(AutoReconnect):
            Quay.objects.update(depth=2)

    assert answers(lifecycle) == ["confirmed"]
    assert changes(lifecycle) == {"depth": Change(1, 2), "": "update"}


def test_what_the_server_refuses_leaves_no_intent(lifecycle: Lifecycle) -> None:
    """And what it did until then is recorded."""
    quays("a")
    with pytest.raises(BulkWriteError):
        Quay._get_collection().insert_many([{"_id": "b"}, {"_id": "a"}, {"_id": "c"}])
    assert intents(lifecycle) == []
    assert [record.key for record in lifecycle.history.find(Quay)] == ["b", "a"]


def test_a_record_that_fails_is_left_to_be_reconciled(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so."""
    quays("a")

    def broken(*args: Any) -> Any:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryStore, "confirm", broken)
        with pytest.raises(StoreError, match=r"the disk is full\. `lifecycle reconcile` will"):
            Quay.objects.update(depth=2)
    assert answers(lifecycle) == ["confirmed"]
    assert changes(lifecycle)["depth"] == Change(1, 2)


def test_nothing_is_written_that_cannot_be_announced(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of no portion."""
    quays("a")

    def broken(*args: Any) -> Any:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryStore, "intend", broken)
        with pytest.raises(RecordingError, match=r"Quay a has not been written by .*no room"):
            Quay.objects.update(depth=2)
        with pytest.raises(RecordingError, match="has not been written"):
            Quay._get_collection().insert_many([{"_id": "b"}])
    assert [one.to_mongo().to_dict() for one in Quay.objects] == [{"_id": "a", "depth": 1}]


def test_what_is_hidden_in_the_log_is_hidden_in_the_intents_of_bulk_writes(
    lifecycle: Lifecycle, killed: Callable[..., None]
) -> None:
    """In records and traces."""
    quays("a", pin="s3cret")
    killed(lambda: Quay.objects.update(depth=2, pin="s3cret-2"), "update_many", "before")
    assert "s3cret" not in repr(intents(lifecycle))
    assert "czNjcmV0" not in repr(intents(lifecycle))  # nor as base64


def test_fast_durability_announces_nothing(mongo: Database[Any]) -> None:
    """It saves that round trip."""
    told = []

    class Listening(MemoryStore):
        def intend(self, intent: Any) -> None:
            told.append(intent)
            super().intend(intent)

    for durability, expected in (("fast", False), ("intent", True)):
        lifecycle = Lifecycle(store=Listening(), durability=durability)  # type: ignore[arg-type]
        lifecycle.install(Quay)
        try:
            quays("a", "b")
            Quay.objects.update(depth=2)
            Quay.objects.delete()
        finally:
            lifecycle.uninstall(Quay)
        assert bool(told) is expected
        assert len(told) == (3 if expected else 0)  # one for each portion, however many are in it


@pytest.mark.parametrize("made", [True, False])
def test_a_word_counts_only_where_the_documents_do_not_tell(
    lifecycle: Lifecycle, killed: Callable[..., None], made: bool
) -> None:
    """Of a portion it settles those that cannot be told, and no others."""
    quays("told", pin="1")
    quays("open", pin="1", depth=2)
    killed(lambda: Quay.objects.update(depth=2, pin="2"), "update_many", "after")
    [unclear] = lifecycle.reconcile(older_than=NOW)
    assert unclear.answer is Answer.UNCLEAR

    told = lifecycle.reconcile(older_than=NOW, said={unclear.id: made})

    assert [(one.answer.value, one.decided) for one in told] == [
        ("confirmed", int(made)),
        *([] if made else [("removed", 1)]),
    ]
    operations = {
        name: [record.operation.value for record in lifecycle.history.of(Quay, name)][::-1]
        for name in ("told", "open")
    }
    assert operations == {
        "told": ["insert", "update"],
        "open": ["insert", *(["update"] if made else [])],
    }
    [decision] = lifecycle.history.find("lifecycle.Decision")
    assert decision.changes["key"] == Change(ABSENT, "open")
    assert intents(lifecycle) == []
