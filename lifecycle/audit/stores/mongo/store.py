"""`MongoStore`: writing revisions, and asking for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from msgspec.structs import replace
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError

from lifecycle.audit.intents import Intent, dump_intent, load_intent
from lifecycle.audit.records import FeedPosition, Position, Record, Revision
from lifecycle.audit.store import Asked, Entry, Feed, Glimpse, Page, Query
from lifecycle.audit.stores.mongo.connecting import (
    apart,
    explaining,
    limited,
    log_of,
    opened,
    printable,
    servers,
)
from lifecycle.audit.stores.mongo.documents import (
    COLLECTION,
    GLIMPSED,
    INDEXES,
    INTENTS,
    LAST_N,
    LEAF_INDEXES,
    LEAVES,
    REPLAYED,
    WHOLE,
    documents_of,
    entry_of,
    glimpse_of,
    is_head,
    microseconds,
    placeholder,
    record_of,
    revision_id,
    revision_of,
)
from lifecycle.audit.stores.mongo.ledger import MongoLedger
from lifecycle.audit.stores.mongo.numbers import OPEN_SINCE, TAKEN, Numbers, is_duplicate
from lifecycle.audit.stores.mongo.questions import filter_of, order
from lifecycle.audit.stores.numbering import refuse_twins
from lifecycle.audit.stores.texts import escaped, unescaped
from lifecycle.audit.tracing import pages
from lifecycle.errors import TablesMissing

__all__ = ["MongoStore"]

T = TypeVar("T")

_INDEXED: Final = {COLLECTION: INDEXES, LEAVES: LEAF_INDEXES}

_SCAN: Final = 500  # records fetched at a time
_TRAIL: Final = 2_000
_MOST_ALIVE: Final = timedelta(minutes=2)  # MongoDB ends a transaction after one, if not told else


class MongoStore:
    """An `AuditStore` in MongoDB, given by a pymongo ``Database`` or its URL.

    Nothing connects before it is needed. Raises ``ConfigurationError`` for a URL that cannot be
    read or names no database.

    `insert_revision` and `insert_records` write in a session of the caller's, in its transaction,
    so that a record commits with its change or not at all. Every other method keeps out of any
    session that the caller is bound to.
    """

    def __init__(self, database_or_url: Database[Any] | str) -> None:
        self.database: Final = opened(database_or_url)
        self._owns_client = self.database is not database_or_url
        self._log: Final[Collection[Any]] = log_of(self.database, COLLECTION)
        self._intents: Final[Collection[Any]] = log_of(self.database, INTENTS)
        self._numbers: Final = Numbers(self._log)
        self._checked = False
        self._seconds: float | None = None

    def __repr__(self) -> str:
        return f"MongoStore({self.url!r})"

    @property
    def url(self) -> str:
        """Where the store is, without user and password."""
        return printable(self.database)

    @property
    def in_memory(self) -> bool:
        """Whether it is gone with this process."""
        return False

    def create_tables(self) -> list[str]:
        """Create the collections' indexes that are not there yet; returns them in words."""
        missing = self._all_missing()
        for name, fields in missing:
            keys = [(field, ASCENDING) for field in fields]
            made = IndexModel(keys, **_INDEXED[name][fields])
            self._asked(partial(log_of(self.database, name).create_indexes, [made]))
        return [_words(*one) for one in missing]

    def lacking(self) -> list[str]:
        """What `create_tables` would create, in words."""
        return [_words(*one) for one in self._all_missing()]

    def _all_missing(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(name, fields) for name in _INDEXED for fields in self._missing(name)]

    def _missing(self, name: str) -> list[tuple[str, ...]]:
        indexes = self._asked(log_of(self.database, name).index_information)
        there = {tuple(field for field, _ in index["key"]) for index in indexes.values()}
        return [fields for fields in _INDEXED[name] if fields not in there]

    @property
    def ledger(self) -> MongoLedger:
        """Where the evidence of this log is kept."""
        return MongoLedger(self)

    def within(self, seconds: float) -> MongoStore:
        """The same store, where a question that takes longer raises ``QuestionTooSlow``.

        The server is told to stop it. The store that was asked is not limited, and is the one to
        close.
        """
        found = copy(self)
        found._seconds = seconds
        found._owns_client = False
        return found

    def close(self) -> None:
        """Close the connections of a store that was given by its URL."""
        if self._owns_client:
            self.database.client.close()

    def is_beside(self, session: ClientSession) -> bool:
        """Whether the store is in the MongoDB of a session, so that both commit as one."""
        theirs, own = session.client, self.database.client
        return theirs is own or not servers(theirs).isdisjoint(servers(own))

    # writing

    def insert_revision(self, session: ClientSession, revision: Revision) -> Revision:
        """Give a revision its ``seq``; it is written with its first record.

        `transaction_over` has to be called when the session's transaction is. Raises
        ``TablesMissing`` and ``StoreUnreachable``.
        """
        self._check_once()

        def keep(number: int) -> bool:
            self._log.insert_one(placeholder(revision, number))
            return True

        return replace(revision, seq=self._asked(lambda: self._numbers.take(keep)))

    def insert_records(
        self, session: ClientSession, revision: Revision, records: Sequence[Record]
    ) -> None:
        """Write a revision's records in the session's transaction, in one command.

        The errors of the driver are raised as they are, for they tell whether to try again.
        """
        if not records:
            return
        headed = any(record.n == 0 for record in records)
        log = log_of(session.client[self.database.name], COLLECTION)
        log.insert_many(documents_of(revision, records, headed=headed), session=session)

    def transaction_over(self, revision: Revision) -> None:
        """Let the feed go on past a revision whose transaction is over, however it ended."""
        closed = {"$unset": {OPEN_SINCE: ""}}
        self._asked(lambda: self._log.update_one({"_id": f"{revision.id}.open"}, closed))

    def append(self, revision: Revision, records: Sequence[Record]) -> Revision:
        return self._write(revision, records, self._insert)

    def confirm(
        self, revision: Revision, records: Sequence[Record], intents: Sequence[UUID]
    ) -> Revision:
        stored = self.append(revision, records)
        self.withdraw(intents)
        return stored

    def intend(self, intent: Intent) -> None:
        self._check_once()
        document = {
            "_id": str(intent.id),
            "at": microseconds(intent.revision.at),
            "body": escaped(dump_intent(intent)),
        }
        self._asked(lambda: self._intents.insert_one(document))

    def withdraw(self, intents: Sequence[UUID]) -> None:
        if intents:
            settled = {"_id": {"$in": list(map(str, intents))}}
            self._asked(lambda: self._intents.delete_many(settled))

    def intents(self) -> Iterator[Intent]:
        oldest = [("at", ASCENDING), ("_id", ASCENDING)]
        found = self._asked(lambda: list(self._intents.find(sort=oldest)))
        return (load_intent(UUID(one["_id"]), unescaped(one["body"])) for one in found)

    def _write(
        self,
        revision: Revision,
        records: Sequence[Record],
        put: Callable[[list[dict[str, Any]], dict[str, Any]], None],
    ) -> Revision:
        ordered = sorted(records, key=lambda record: record.n)
        refuse_twins(revision, ordered)
        self._check_once()

        def write(number: int) -> bool:
            stored = replace(revision, seq=number)
            *others, head = documents_of(stored, ordered, headed=True)
            try:
                put(others, {**head, TAKEN: number})
            except PyMongoError as error:
                if others:
                    self._log.delete_many({"_id": {"$in": [other["_id"] for other in others]}})
                if is_duplicate(error) and self.revision(revision.id) is not None:
                    return False
                raise
            return True

        number = self._asked(lambda: self._numbers.take(write))
        found = replace(revision, seq=number) if number else self.revision(revision.id)
        assert found is not None  # else it would have been written
        return found

    def _insert(self, others: list[dict[str, Any]], head: dict[str, Any]) -> None:
        if others:
            self._log.insert_many([*others, head])
        else:
            self._log.insert_one(head)

    # reading

    def page(
        self,
        query: Query,
        *,
        after: Position | None = None,
        limit: int = 50,
        newest_first: bool = True,
    ) -> Page:
        if limit < 1:
            raise ValueError(f"a page of {limit} records is none; limit must be at least 1")
        found = self._found(query, after, limit + 1, newest_first)
        revisions = {head["_id"]: revision_of(head) for _, head in found[:limit]}
        records = tuple(
            record_of(document, revisions[head["_id"]]) for document, head in found[:limit]
        )
        return Page(records, records[-1].position if len(found) > limit else None)

    def _found(
        self,
        query: Query,
        after: Position | None,
        limit: int,
        newest_first: bool,
        projection: dict[str, int] | None = None,
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """So many documents with their heads, past those whose head is not there."""
        found: list[tuple[dict[str, Any], dict[str, Any]]] = []
        while True:
            wanted = limit - len(found)
            documents = self._documents(query, after, wanted, newest_first, projection)
            heads = self._heads(documents)
            for document in documents:
                head = heads.get(revision_id(document))
                if head is not None and head["seq"] == document["seq"]:
                    found.append((document, head))
            if len(found) == limit or len(documents) < wanted:
                return found
            after = Position(documents[-1]["seq"], documents[-1]["n"])

    def _documents(
        self,
        query: Query,
        after: Position | None,
        limit: int,
        newest_first: bool,
        projection: dict[str, int] | None,
    ) -> list[dict[str, Any]]:
        wanted = filter_of(query, after, newest_first)
        found = partial(self._log.find, wanted, projection, sort=order(newest_first), limit=limit)
        return self._asked(lambda: list(found()))

    def _heads(self, documents: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The heads of some documents by their revisions' ids, of those that are there."""
        heads = {document["_id"]: document for document in documents if is_head(document)}
        missing = {revision_id(document) for document in documents} - heads.keys()
        if missing:
            wanted = {"_id": {"$in": sorted(missing)}, "seq": {"$gt": 0}}
            heads |= {
                head["_id"]: head
                for head in self._asked(lambda: list(self._log.find(wanted, WHOLE)))
            }
        return heads

    def glimpses(self, asked: Sequence[Asked]) -> list[Glimpse | None]:
        return [self._glimpse(*one) for one in asked]

    def _glimpse(self, query: Query, after: Position | None, newest_first: bool) -> Glimpse | None:
        found = self._found(query, after, 1, newest_first, GLIMPSED)
        return glimpse_of(*found[0]) if found else None

    def scan(self, query: Query) -> Iterator[Record]:
        return pages(self, query, newest_first=False, size=_SCAN)

    def feed(self, after: FeedPosition | None = None, *, limit: int = 500) -> Feed:
        if limit < 1:
            raise ValueError(f"a feed of {limit} records is none; limit must be at least 1")
        there = None if after is None else Position(after.seq, after.n)
        upto = Position(self._last_settled(), LAST_N)
        records = self.page(Query(upto=upto), after=there, limit=limit, newest_first=False).records
        return Feed(records, FeedPosition(0, *records[-1].position) if records else after)

    def _last_settled(self) -> int:
        """The number up to which nothing can still appear."""
        newest = self._asked(self._numbers.newest)  # asked first: who has one of these is seen next
        alive = {OPEN_SINCE: {"$gt": datetime.now(UTC) - _MOST_ALIVE}}
        open = self._asked(lambda: list(self._log.find(alive, {TAKEN: 1})))
        return min([newest, *(int(one[TAKEN]) - 1 for one in open)])

    def trail(self, query: Query, *, newest_first: bool = False) -> Iterator[Entry]:
        after: Position | None = None
        while True:
            found = self._found(query, after, _TRAIL, newest_first, REPLAYED)
            yield from (entry_of(document) for document, _ in found)
            if len(found) < _TRAIL:
                return
            after = Position(found[-1][0]["seq"], found[-1][0]["n"])

    def count_at_most(self, query: Query, n: int) -> int:
        return 0 if n < 1 else len(self._found(query, None, n, True, {"seq": 1, "n": 1}))

    def counts_at_most(self, queries: Sequence[Query], n: int) -> list[int]:
        return [self.count_at_most(query, n) for query in queries]

    def revision(self, id: UUID) -> Revision | None:
        wanted = {"_id": str(id), "seq": {"$gt": 0}}
        head = self._asked(lambda: self._log.find_one(wanted, WHOLE))
        return None if head is None else revision_of(head)

    def revision_at(self, moment: datetime) -> Revision | None:
        wanted = {"at": {"$lte": microseconds(moment)}, "revision": {"$exists": True}}
        newest = [("at", DESCENDING), ("position", DESCENDING)]
        head = self._asked(lambda: self._log.find_one(wanted, WHOLE, sort=newest))
        return None if head is None else revision_of(head)

    def entities(self) -> list[str]:
        return sorted(map(unescaped, self._asked(lambda: list(self._entities()))))

    def _entities(self) -> Iterator[str]:
        """The names as they are stored: from one to the next, by the index, past all records."""
        by_entity = [("entity", ASCENDING), ("position", ASCENDING)]
        found = self._log.find_one({"n": {"$gte": 0}}, {"entity": 1}, sort=by_entity)
        while found is not None:
            yield found["entity"]
            beyond = {"entity": {"$gt": found["entity"]}, "n": {"$gte": 0}}
            found = self._log.find_one(beyond, {"entity": 1}, sort=by_entity)

    def check(self) -> None:
        if self._missing(COLLECTION):
            raise TablesMissing(
                f"the indexes of the audit collection {COLLECTION} are not all in {self.url}; "
                f"create them with `lifecycle create-tables {self.url}` or "
                "Lifecycle.create_tables()"
            )
        self._checked = True

    def _check_once(self) -> None:
        if not self._checked:
            self.check()

    # connection and errors

    def _asked(self, question: Callable[[], T]) -> T:
        with explaining(self.database):
            return apart(lambda: limited(self._seconds, question))


def _words(name: str, fields: tuple[str, ...]) -> str:
    return f"index {', '.join(fields)} of {name}"
