"""Whatever is altered, removed or added in a sealed log in MongoDB is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from lifecycle.audit.holding import hold
from lifecycle.audit.privacy import erase, prune
from lifecycle.audit.sealing import seal
from lifecycle.audit.store import Query
from lifecycle.audit.stores.mongo import MongoStore
from lifecycle.audit.verifying import verify
from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.context import acting
from lifecycle.errors import ConfigurationError, EvidenceError
from lifecycle.markers import ABSENT
from lifecycle.testing.store_contract import a_revision, append

LOG, LEAVES, SEALS = "lifecycle_change", "lifecycle_leaf", "lifecycle_seal"
HOLDS = "lifecycle_hold"


@pytest.fixture
def store(mongo: Database[Any]) -> MongoStore:
    """A sealed log with every field set somewhere and missing elsewhere."""
    store = MongoStore(mongo)
    store.create_tables()
    born = ChangeSet(
        {"name": Change(ABSENT, "Bob"), "tel": Change(ABSENT, "t-1")}, Operation.INSERT
    )
    append(
        store,
        a_revision(
            actor="ann",
            actor_label="Ann E",
            reason="why",
            source="web",
            request_id="r1",
            context={"ip": "::1"},
            origin="node",
            group=uuid4(),
        ),
        {"operation": Operation.INSERT, "changes": born, "label": "One"},
        {"key": "2", "former_key": "1", "error": "oh", "cause": "cascade"},
        {"key": "3"},
    )
    append(store, a_revision())
    append(store, a_revision(actor="eve"), {"key": "2"})
    with acting("law"):
        hold(store, entity="shop.Other", key="1", actor="zoe", reason="case")
    seal(store)
    return store


def altered(value: Any) -> Iterator[Any]:
    """Other values, as like it as can be."""
    if isinstance(value, bytes):
        yield bytes([value[0] ^ 1]) + value[1:]
        yield value[:-1]
    elif isinstance(value, str):
        yield value + "x"
        yield value.swapcase() if value.swapcase() != value else "x"
    elif isinstance(value, int):
        yield value + 1
        yield str(value)
    elif isinstance(value, list):
        yield [*value, "x"]
        yield [f"{value[0]}x", *value[1:]]
    elif value is None:
        yield "x"


def edits(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document with one field altered, also in a document within it."""
    for name, value in document.items():
        if isinstance(value, dict):
            for inner, edited in edits(value):
                yield f"{name}.{inner}", {**document, name: edited}
        elif name != "_id":
            yield from ((f"{name}: {one!r}", {**document, name: one}) for one in altered(value))


@pytest.mark.parametrize("name", [LOG, LEAVES, SEALS, HOLDS])
def test_every_alteration_is_found(store: MongoStore, name: str) -> None:
    """Of any field of any document."""
    collection = store.database[name]
    count = 0
    for document in list(collection.find()):
        for what, edited in edits(document):
            collection.delete_one({"_id": document["_id"]})
            with suppress(DuplicateKeyError):  # an index of the log does not let that be
                collection.insert_one(edited)
                assert not intact(store), (document["_id"], what)
                collection.delete_one({"_id": document["_id"]})
                count += 1
            collection.insert_one(document)
    assert intact(store)
    assert count > 10


def intact(store: MongoStore) -> bool:
    try:
        return verify(store).intact
    except EvidenceError:
        return False


@pytest.mark.parametrize("name", [LOG, LEAVES, SEALS, HOLDS])
def test_every_deletion_is_found(store: MongoStore, name: str) -> None:
    """Of any document; and when it is put back, that is all there was."""
    collection = store.database[name]
    for document in list(collection.find()):
        collection.delete_one({"_id": document["_id"]})
        assert not intact(store), document["_id"]
        collection.insert_one(document)
    assert intact(store)


def test_a_field_that_nobody_wrote_is_found(store: MongoStore) -> None:
    """In any document of the log: an index or a question might come to look at it."""
    for document in list(store._log.find()):
        store._log.update_one({"_id": document["_id"]}, {"$set": {"extra": 1}})
        assert not intact(store)
        store._log.replace_one({"_id": document["_id"]}, document)


def test_insertions_are_found(store: MongoStore) -> None:
    """A record added to a sealed revision, and a revision in between."""
    [other] = store._log.find({"seq": 1, "n": 2})
    head = store._log.find_one({"seq": 1, "n": 0})
    assert head is not None
    added = {**other, "_id": f"{head['_id']}.1.9", "n": 9}
    added["position"] = other["position"].replace("0000000003", "0000000010")
    store._log.insert_one(added)
    found = [(one.what, one.seq, one.n) for one in verify(store).findings]
    assert found == [("inserted", 1, 9)]
    store._log.delete_one({"_id": added["_id"]})

    bare = store._log.find_one({"seq": 2})
    assert bare is not None
    del bare["taken"]
    bare |= {"_id": str(uuid4()), "seq": 0, "position": bare["position"].replace("2.", "0.")}
    store._log.insert_one(bare)
    assert not intact(store)


def test_a_record_without_its_head_is_none(store: MongoStore) -> None:
    """As a crash may leave it: nobody reads it, so it is nobody's affair."""
    [other] = store._log.find({"seq": 1, "n": 2})
    store._log.insert_one({**other, "_id": f"{uuid4()}.1.2"})
    assert len(list(store.scan(Query()))) == 4
    assert intact(store)


def test_who_is_erased_is_in_no_document(store: MongoStore) -> None:
    """Nor what is said of them for the questions."""
    erase(store, actor="ann")
    assert "ann" not in repr(list(store._log.find())).lower()
    assert intact(store)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("Bob", "Rob"),
        lambda text: text.replace('"$erased":"', '"$erased":"0'),
        lambda text: text.replace("$erased", "$other"),
    ],
)
def test_an_alteration_after_an_erasure_is_found(
    store: MongoStore, edit: Callable[[str], str]
) -> None:
    """Of what was left, and of the digest."""
    erase(store, entity="shop.Order", keys=["1"], fields=["tel"])
    assert intact(store)
    document = store._log.find_one({"seq": 1, "n": 0})
    assert document is not None
    assert "$erased" in document["changes"]
    changed = {"changes": edit(document["changes"])}
    assert changed["changes"] != document["changes"]
    store._log.update_one({"_id": document["_id"]}, {"$set": changed})
    assert not intact(store)


def test_a_pruned_record_leaves_its_revision(store: MongoStore) -> None:
    """Also the one whose document tells of all of it."""
    whole = store.revision(next(store.scan(Query())).revision.id)
    assert whole is not None
    for _ in range(2):  # in the first revision one record each of two objects is left
        append(store, a_revision(), {"key": "1"})
        seal(store)
    prune(store, entity="shop.Order", keep=2)
    left = [(one.revision.seq, one.n) for one in store.scan(Query())]
    assert left == [(1, 1), (1, 2), (3, 0), (4, 0), (5, 0)]
    assert store.revision(whole.id) == whole == next(store.scan(Query())).revision
    assert intact(store)


def test_what_was_pruned_may_not_come_back(store: MongoStore) -> None:
    """And what was deleted cannot be passed off as pruned."""
    document = store._log.find_one({"seq": 1, "n": 2})
    assert document is not None
    prune(store, entity="shop.Order", keep=1)
    remaining = store._log.find_one({"entity": "shop.Order"})
    assert remaining is not None
    assert intact(store)
    store._log.delete_one({"_id": remaining["_id"]})
    assert not intact(store)


def test_no_number_is_taken_again(store: MongoStore) -> None:
    """Of a revision that was removed, the newest not either."""
    newest = max(record.revision.seq or 0 for record in store.scan(Query()))
    prune(store, older_than=a_revision().at.replace(year=2999))
    assert list(store.scan(Query())) == []
    assert append(MongoStore(store.database), a_revision(), {})[0].revision.seq == newest + 1
    assert intact(store)


@pytest.mark.real_mongodb("an error for transactions on a single server")
def test_a_server_without_transactions_is_named(mongo: Database[Any]) -> None:
    """Sealing changes several documents as one."""
    if "setName" in mongo.client.admin.command("hello"):
        pytest.skip("it takes a single server: this one is a replica set, which has transactions")
    store = MongoStore(mongo)
    append(store, a_revision(), {})
    with pytest.raises(ConfigurationError, match="no replica set"):
        seal(store)
