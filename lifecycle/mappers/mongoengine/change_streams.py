"""Listening to the change stream of a database: what anybody writes to its documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from bson import CodecOptions
from mongoengine.connection import get_db
from pymongo.change_stream import DatabaseChangeStream
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from lifecycle.errors import ConfigurationError, RecordingError, StoreUnreachable
from lifecycle.mappers.mongoengine.change_events import (
    ChangeEvents,
    Event,
    as_token,
    token_of,
)
from lifecycle.mappers.mongoengine.documents import DocumentModel
from lifecycle.written import Heard

__all__ = ["heard", "listening", "without_images"]

_WAIT: Final = 1_000  # milliseconds
_IMAGES_SINCE: Final = 17  # the wire version of MongoDB 6.0
_NO_REPLICA_SET: Final = 40573
_GONE: Final = frozenset({260, 280, 286})  # the place in the stream, or what came after it


@contextmanager
def listening(
    alias: str, models: Sequence[DocumentModel], wants: Any, token: str | None, until_idle: bool
) -> Iterator[Iterator[Heard]]:
    """What is written to the documents of some classes, from now on or from a token on.

    Whenever nothing comes for a second it gives what is not to be recorded, with the place reached
    by then; ``until_idle`` ends it there. Raises ``ConfigurationError`` for a server without change
    streams, ``RecordingError`` when it has not kept what came after the token, and
    ``StoreUnreachable``.
    """
    database = get_db(alias)

    def class_of(collection: str, id: Any) -> str | None:
        found = database[collection].find_one({"_id": id}, {"_cls": 1})
        return None if found is None else found.get("_cls")

    events = ChangeEvents(models, wants, class_of)
    if not events.collections:
        raise ConfigurationError(
            f"no document class of the connection {alias!r} is recorded: install this Lifecycle on "
            "mongoengine, and import the modules of the classes, before it is to watch them"
        )
    with _explained(database), _opened(database, events.collections, token) as stream:
        yield heard(stream, events, until_idle)


def heard(stream: Any, events: ChangeEvents, until_idle: bool) -> Iterator[Heard]:
    """What each event of a stream tells, and how far it has come when there is none."""
    while stream.alive:
        event: Event | None = stream.try_next()
        if event is not None:
            yield events.heard(event)
            continue
        if stream.resume_token is not None:
            token = as_token(stream.resume_token)
            yield Heard(None, datetime.now(UTC), token, token)
        if until_idle:
            return
    raise RecordingError(
        "the change stream has ended, as it does when its database is dropped: remove the file "
        "with its token, and begin to watch anew"
    )


def _opened(
    database: Database[Any], collections: list[str], token: str | None
) -> DatabaseChangeStream[Any]:
    options: dict[str, Any] = {}
    if database.client.admin.command("hello").get("maxWireVersion", 0) >= _IMAGES_SINCE:
        options = dict.fromkeys(("full_document", "full_document_before_change"), "whenAvailable")
    of_these = {"ns.coll": {"$in": collections}}
    pipeline = [{"$match": {"$or": [of_these, {"operationType": "invalidate"}]}}]
    codec: CodecOptions[Any] = database.codec_options.with_options(document_class=dict)
    return database.with_options(codec_options=codec).watch(
        pipeline,
        start_after=None if token is None else token_of(token),
        max_await_time_ms=_WAIT,
        **options,
    )


def without_images(alias: str, models: Sequence[DocumentModel], wants: Any) -> list[str]:
    """The collections whose old values the server does not keep for a change stream."""
    database = get_db(alias)
    names = ChangeEvents(models, wants).collections
    with _explained(database):
        kept = {
            one["name"]
            for one in database.list_collections(filter={"name": {"$in": names}})
            if one.get("options", {}).get("changeStreamPreAndPostImages", {}).get("enabled")
        }
    return [name for name in names if name not in kept]


@contextmanager
def _explained(database: Database[Any]) -> Iterator[None]:
    """Say of the driver's errors what to do."""
    try:
        yield
    except OperationFailure as error:
        if error.code == _NO_REPLICA_SET:
            raise ConfigurationError(
                f"the MongoDB of {database.name} has no change streams, for it is no replica set: "
                "start it with --replSet, and call rs.initiate() once"
            ) from error
        if error.code in _GONE:
            raise RecordingError(
                f"MongoDB has not kept what was written to {database.name} since the watch ended: "
                "what other programs wrote in between is not recorded. `lifecycle verify "
                "--against-database` finds what differs; to go on from now, remove the file with "
                "the token, and to be able to pause for longer, give the oplog more room"
            ) from error
        raise StoreUnreachable(
            f"the changes of {database.name} cannot be watched: {error.details and error.code} "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    except PyMongoError as error:
        raise StoreUnreachable(
            f"the changes of {database.name} cannot be watched ({type(error).__name__}): check "
            "that MongoDB runs; once it does, watching goes on from where it was"
        ) from error
