"""The evidence of a log in MongoDB: documents read exactly as they are, leaves, the chain.

Sealing, pruning and erasing change several documents as one, so they take a replica set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec.structs import asdict, replace
from pymongo import ASCENDING, DESCENDING
from pymongo.client_session import ClientSession
from pymongo.collection import Collection as Documents
from pymongo.errors import DuplicateKeyError, OperationFailure

from lifecycle.audit.chain import Entry
from lifecycle.audit.leaves import HEADER, Leaf, Row
from lifecycle.audit.ledger import Hold, Revised
from lifecycle.audit.records import FeedPosition, Position
from lifecycle.audit.store import Entry as Stored
from lifecycle.audit.stores.mongo.connecting import apart, explaining, log_of
from lifecycle.audit.stores.mongo.documents import (
    HOLDS,
    LAST_N,
    LEAVES,
    SEALS,
    closed_placeholder,
    entry_of,
    is_head,
    microseconds,
    position_text,
    revision_id,
)
from lifecycle.audit.stores.mongo.rows import (
    record_row,
    record_update,
    revision_row,
    revision_updates,
)
from lifecycle.audit.stores.texts import escaped
from lifecycle.errors import ConfigurationError, EvidenceError
from lifecycle.spooling import chunks

if TYPE_CHECKING:
    from lifecycle.audit.stores.mongo.store import MongoStore

__all__ = ["MongoLedger"]

T = TypeVar("T")

_FETCHED: Final = 2_000
_RANGES: Final = 100
_NO_TRANSACTIONS: Final = 20
_WRITE_CONFLICT: Final = 112
_RECORDS: Final = {"n": {"$gte": 0}}
_HEADS: Final = {"revision": {"$exists": True}}
_OF_RECORD: Final = (
    "entity",
    "keys",
    "operation",
    "label",
    "error",
    "cause",
    "changes",
    "format",
)


class _Reading:
    """Questions that read documents exactly."""

    def __init__(self, store: MongoStore, session: ClientSession | None = None) -> None:
        self._store = store
        self._session = session
        self._log: Final[Documents[Any]] = store._log
        self._seals: Final[Documents[Any]] = log_of(store.database, SEALS)
        self._leaves: Final[Documents[Any]] = log_of(store.database, LEAVES)
        self._holds: Final[Documents[Any]] = log_of(store.database, HOLDS)

    def _asked(self, question: Callable[[], T]) -> T:
        with explaining(self._store.database):
            return apart(question)

    def _found(self, documents: Documents[Any], wanted: Any, **options: Any) -> list[Any]:
        def question() -> list[Any]:
            return list(documents.find(wanted, session=self._session, **options))

        return self._asked(question)

    def revisions(self, seqs: Sequence[int]) -> dict[int, Revised]:
        found: dict[int, Revised] = {}
        for places in _ranges(seqs):
            for head in self._found(self._log, {**_HEADS, **places}):
                if head["seq"] in seqs:
                    found[head["seq"]] = Revised(0, revision_row(head))
        return found

    def records(
        self,
        seqs: Sequence[int],
        start: tuple[int, int] | None = None,
        before: tuple[int, int] | None = None,
    ) -> Iterator[Row]:
        wanted = frozenset(seqs)
        for places in _ranges(seqs):
            for document, head in self._in_order(places, start, before):
                if document["seq"] in wanted:
                    yield record_row(document, head)

    def _in_order(
        self, places: Any, start: tuple[int, int] | None, before: tuple[int, int] | None
    ) -> Iterator[tuple[Any, Any]]:
        """The records there, with their heads, as far as these have the same number."""
        beyond = [] if start is None else [{"position": {"$gte": position_text(Position(*start))}}]
        if before is not None:
            beyond.append({"position": {"$lt": position_text(Position(*before))}})
        while True:
            documents = self._found(
                self._log,
                {"$and": [_RECORDS, places, *beyond]},
                sort=[("position", ASCENDING)],
                limit=_FETCHED,
            )
            heads = self._heads(documents)
            for document in documents:
                head = heads.get(revision_id(document))
                if head is not None and head.get("seq") == document.get("seq"):
                    yield document, head
            if len(documents) < _FETCHED:
                return
            beyond = [*beyond[-1:], {"position": {"$gt": documents[-1]["position"]}}]
            if before is None:
                beyond = beyond[-1:]

    def _heads(self, documents: Iterable[Any]) -> dict[str, Any]:
        documents = list(documents)
        heads = {one["_id"]: one for one in documents if is_head(one)}
        missing = sorted({revision_id(one) for one in documents} - heads.keys())
        for some in chunks(missing):
            heads |= {one["_id"]: one for one in self._found(self._log, {"_id": {"$in": some}})}
        return heads


class MongoLedger(_Reading):
    """The `Ledger` of a `MongoStore`."""

    def last(self) -> Entry | None:
        return self._entry({})

    def newest(self, *kinds: str) -> dict[str, Entry]:
        found = (self._entry({"kind": kind}) for kind in kinds)
        return {one.kind: one for one in found if one is not None}

    def _entry(self, wanted: Any) -> Entry | None:
        found = self._found(self._seals, wanted, sort=[("number", DESCENDING)], limit=1)
        return _entry(found[0]) if found else None

    def entries(self, after: int = 0, kinds: Collection[str] = ()) -> Iterator[Entry]:
        wanted = {"kind": {"$in": [*kinds]}} if kinds else {}
        while True:
            beyond = {"number": {"$gt": after}, **wanted}
            found = self._found(self._seals, beyond, sort=[("number", ASCENDING)], limit=500)
            yield from map(_entry, found)
            if len(found) < 500:
                return
            after = found[-1]["number"]

    def leaves(self, seal: int, place: int, limit: int) -> list[Leaf]:
        wanted = {"seal": seal, "place": {"$gte": place}}
        found = self._found(self._leaves, wanted, sort=[("place", ASCENDING)], limit=limit)
        return list(map(_leaf, found))

    def leaf_count(self) -> int:
        return sum(one.count for one in self.entries() if one.kind == "seal")

    def foreign_leaves(self, last: int) -> list[int]:
        wanted = {"kind": "seal", "number": {"$lte": last}}
        known = [one["number"] for one in self._found(self._seals, wanted)]
        found = self._found(
            self._leaves, {"seal": {"$nin": known}}, sort=[("seq", ASCENDING)], limit=100
        )
        return [one["seq"] for one in found]

    def inserted(self, upto: FeedPosition, limit: int) -> list[int]:
        found: list[int] = []
        there = self._heads_after(None, {"seq": {"$lte": upto.seq}})
        for some in chunks(there, _FETCHED):
            seqs = [head["seq"] for head in some]
            wanted = {"seq": {"$in": seqs}, "n": HEADER}
            sealed = {one["seq"] for one in self._found(self._leaves, wanted)}
            found += [seq for seq in seqs if seq not in sealed]
            if len(found) >= limit:
                break
        return found[:limit]

    def orphans(self, limit: int) -> list[tuple[int, int]]:
        return []  # a record without its head is no record: nobody reads it

    def of_objects(self, entity: str, keys: Sequence[str]) -> list[Stored]:
        found: list[tuple[Any, Any]] = []
        for some in chunks(map(escaped, keys)):
            places = {"entity": escaped(entity), "keys": {"$in": some}}
            found += self._in_order(places, None, None)
        by_place = {document["position"]: document for document, _ in found}
        return [entry_of(by_place[place]) for place in sorted(by_place)]

    def keys(self, entity: str, after: str | None, limit: int) -> list[str]:
        beyond: list[Any] = [] if after is None else [{"$match": {"_id": {"$gt": after}}}]
        pipeline = [
            {"$match": {"entity": escaped(entity), **_RECORDS}},
            {"$unwind": "$keys"},
            {"$group": {"_id": "$keys"}},
            *beyond,
            {"$sort": {"_id": 1}},
            {"$limit": limit},
        ]
        return self._asked(
            lambda: [one["_id"] for one in self._log.aggregate(pipeline, allowDiskUse=True)]
        )

    def revisions_of(self, actor: str, after: int, limit: int) -> list[int]:
        heads = self._heads_after(after, {"actor": escaped(actor)})
        return [head["seq"] for head in islice(heads, limit)]

    def _heads_after(self, seq: int | None, wanted: Any) -> Iterator[Any]:
        """The heads of revisions after one, in order."""
        while True:
            after = "" if seq is None else position_text(Position(seq, LAST_N))
            beyond = {"position": {"$gt": after}}
            found = self._found(
                self._log,
                {**_HEADS, **wanted, **beyond},
                sort=[("position", ASCENDING)],
                limit=_FETCHED,
            )
            yield from found
            if len(found) < _FETCHED:
                return
            seq = found[-1]["seq"]

    def old(
        self, before: datetime, entity: str | None, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        wanted: dict[str, Any] = {
            **_RECORDS,
            "at": {"$lt": microseconds(before)},
            "position": {"$gt": position_text(Position(*after))},
        }
        if entity is not None:
            wanted["entity"] = escaped(entity)
        found = self._found(self._log, wanted, sort=[("position", ASCENDING)], limit=limit)
        return [(one["seq"], one["n"]) for one in found]

    def bare(self, before: datetime, after: int, limit: int) -> list[int]:
        found: list[int] = []
        made = {"n": HEADER, "at": {"$lt": microseconds(before)}}
        for some in chunks(self._heads_after(after, made), _FETCHED):
            seqs = [head["seq"] for head in some]
            full: set[int] = set()
            for places in _ranges(seqs):
                there = {"$and": [_RECORDS, places]}
                full.update(one["seq"] for one in self._found(self._log, there))
            found += [seq for seq in seqs if seq not in full]
            if len(found) >= limit:
                break
        return found[:limit]

    def excess(
        self, entity: str, keep: int, after: str | None, limit: int
    ) -> tuple[list[tuple[int, int]], str | None]:
        keys = self.keys(entity, after, limit)
        objects: dict[str, list[tuple[int, int]]] = {key: [] for key in keys}
        for some in chunks(keys):
            places = {"entity": escaped(entity), "keys": {"$in": some}}
            for document, _ in self._in_order(places, None, None):
                if document["keys"][0] in objects:
                    objects[document["keys"][0]].append((document["seq"], document["n"]))
        older = {place for places in objects.values() for place in places[: -keep or None]}
        return sorted(older), keys[-1] if len(keys) == limit else None

    @contextmanager
    def writing(self, entry: Entry) -> Iterator[_Writer]:
        client = self._store.database.client
        try:
            with (
                explaining(self._store.database),
                client.start_session() as session,
                session.start_transaction(),
            ):
                # First of all: whoever else begins with this number fails.
                apart(self._seals.insert_one, _document(entry), session=session)
                yield _Writer(self._store, session, entry.number)
        except DuplicateKeyError as error:
            raise _taken(entry) from error
        except Exception as error:
            cause = error.__cause__ if isinstance(error.__cause__, OperationFailure) else error
            if isinstance(cause, OperationFailure) and cause.code == _WRITE_CONFLICT:
                raise _taken(entry) from error
            if isinstance(cause, OperationFailure) and cause.code == _NO_TRANSACTIONS:
                raise ConfigurationError(
                    f"{self._store.url} is no replica set, so evidence of its log cannot be kept: "
                    "start MongoDB with --replSet, and call rs.initiate() once"
                ) from error
            raise

    def holds(self) -> list[Hold]:
        found = self._found(self._holds, {}, projection={"_id": 0}, sort=[("number", ASCENDING)])
        return [Hold(**one) for one in found]


class _Writer(_Reading):
    """The `LedgerWriter` of one transaction."""

    def __init__(self, store: MongoStore, session: ClientSession, number: int) -> None:
        super().__init__(store, session)
        self._number = number

    def unsealed(self, after: FeedPosition | None, limit: int) -> list[Revised]:
        beyond = position_text(Position(0 if after is None else after.seq, LAST_N))
        upto = position_text(Position(self._store._last_settled(), LAST_N))
        heads = self._found(
            self._log,
            {**_HEADS, "position": {"$gt": beyond, "$lte": upto}},
            sort=[("position", ASCENDING)],
            limit=limit,
        )
        return [Revised(0, revision_row(head)) for head in heads]

    def leaves_of(self, seqs: Sequence[int]) -> list[Leaf]:
        order = [("seal", ASCENDING), ("place", ASCENDING)]
        return list(map(_leaf, self._found(self._leaves, {"seq": {"$in": [*seqs]}}, sort=order)))

    def add_leaves(self, leaves: Sequence[Leaf]) -> None:
        if leaves:
            documents = [
                {
                    "_id": f"{leaf.seq}.{leaf.n}",
                    "seq": leaf.seq,
                    "n": leaf.n,
                    "seal": leaf.seal,
                    "place": leaf.place,
                    "parts": leaf.packed,
                    "kept": leaf.kept,
                }
                for leaf in leaves
            ]
            self._do(self._leaves.insert_many, documents)

    def change_leaf(self, leaf: Leaf) -> None:
        now = {"$set": {"parts": leaf.packed, "kept": leaf.kept}}
        self._do(self._leaves.update_one, {"_id": f"{leaf.seq}.{leaf.n}"}, now)

    def change_row(self, before: Row, after: Row) -> None:
        seq = before[0]
        [places] = _ranges([seq])
        if len(before) == 11:
            here = {"position": position_text(Position(seq, before[1])), **_RECORDS}
            self._change(here, record_update(before, after))
            return
        whole, shared = revision_updates(before, after)
        self._change({**_HEADS, **places}, whole)
        self._change(places, shared)

    def _change(self, wanted: Any, update: dict[str, Any]) -> None:
        if update:
            self._do(self._log.update_many, wanted, update)

    def remove(self, records: Sequence[tuple[int, int]], revisions: Sequence[int]) -> None:
        self._keep_newest_number(revisions)
        for places in _ranges(revisions):  # in which there may be others, too
            self._do(self._log.delete_many, {"$and": [places, {"seq": {"$in": [*revisions]}}]})
        whole = set(revisions)
        places_left = [place for place in records if place[0] not in whole]
        for some in chunks(position_text(Position(*place)) for place in places_left):
            wanted = {"position": {"$in": some}, **_RECORDS}
            self._do(self._log.delete_many, {**wanted, "revision": {"$exists": False}})
            for head in self._found(self._log, wanted):
                bare = {"n": HEADER, "position": position_text(Position(head["seq"], HEADER))}
                update = {"$set": bare, "$unset": dict.fromkeys(_OF_RECORD, "")}
                self._do(self._log.update_one, {"_id": head["_id"]}, update)

    def _keep_newest_number(self, revisions: Collection[int]) -> None:
        """Let nobody take the number of the newest revision again, when it is removed."""
        newest = self._asked(self._store._numbers.newest)
        if newest in revisions:
            [places] = _ranges([newest])
            for head in self._found(self._log, {**_HEADS, **places}):
                self._do(self._log.delete_one, {"_id": head["_id"]})
                self._do(self._log.insert_one, closed_placeholder(head["_id"], newest))

    def add_hold(self, hold: Hold) -> Hold:
        newest = self._found(self._holds, {}, sort=[("number", DESCENDING)], limit=1)
        made = replace(hold, number=newest[0]["number"] + 1 if newest else 1)
        self._do(self._holds.insert_one, {"_id": made.number, **asdict(made)})
        return made

    def remove_hold(self, number: int) -> None:
        self._do(self._holds.delete_one, {"number": number})

    def finish(self, entry: Entry | None) -> None:
        here = {"number": self._number}
        if entry is None:
            self._do(self._seals.delete_one, here)
        else:
            self._do(self._seals.replace_one, here, _document(entry))

    def _do(self, write: Callable[..., Any], *args: Any) -> None:
        self._asked(lambda: write(*args, session=self._session))


def _ranges(seqs: Collection[int]) -> Iterator[dict[str, Any]]:
    """Criteria that the documents of revisions with these numbers meet, and perhaps of others."""
    for some in chunks(sorted(seqs), _FETCHED):
        lowest, highest = some[0], some[-1]
        if highest - lowest < 2 * len(some):
            yield {"position": _between(lowest, highest)}
            continue
        for few in chunks(some, _RANGES):
            yield {"$or": [{"position": _between(one, one)} for one in few]}


def _between(lowest: int, highest: int) -> dict[str, str]:
    return {
        "$gte": position_text(Position(lowest, HEADER)),
        "$lte": position_text(Position(highest, LAST_N)),
    }


def _document(entry: Entry) -> dict[str, Any]:
    return {"_id": entry.number, **asdict(entry)}


def _entry(document: dict[str, Any]) -> Entry:
    values: dict[str, Any] = {name: document.get(name) for name in Entry.__struct_fields__}
    return Entry(**values)


def _leaf(document: Any) -> Leaf:
    seq, n, seal, place = (document.get(name) for name in ("seq", "n", "seal", "place"))
    if not all(type(one) is int for one in (seq, n, seal, place)):
        raise EvidenceError(f"the leaf {document['_id']} of the evidence cannot be read")
    return Leaf.stored(seq, n, seal, place, document.get("parts"), document.get("kept"))


def _taken(entry: Entry) -> EvidenceError:
    return EvidenceError(
        f"entry {entry.number} of the chain was written by somebody else at the same time: "
        "sealing, pruning and erasing take turns; do it again"
    )
