"""Traces: by which to tell, looking at a document, whether a write of it has been made.

A trace has the old and new BSON values of what is recorded, under the database's names. What the
log hides is hidden here, too.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import bson
from bson import CodecOptions
from mongoengine import connection
from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from lifecycle import codec
from lifecycle.changes import Operation, same
from lifecycle.errors import ConfigurationError, StoreUnreachable
from lifecycle.hiding import hidden_places
from lifecycle.mappers.mongoengine.images import reached
from lifecycle.markers import ABSENT, UNKNOWN, Marker
from lifecycle.policy import Policy
from lifecycle.verdicts import Verdict

__all__ = ["connected", "given_client", "looking_at", "trace_of"]

_OPTIONS: Final[CodecOptions[dict[str, Any]]] = CodecOptions(document_class=dict)

ClientOf = Callable[[list[str]], MongoClient[Any] | None]
"""The client for some servers, by their addresses."""


def trace_of(sent: Any, collection: Any, policy: Policy, names: Mapping[str, str]) -> str:
    """The trace of a write that is about to be sent to a collection.

    ``names`` gives the attributes for names in the database.
    """
    paths = []
    may_hide = policy.exclude or policy.mask or policy.conceals
    for path, change in sent.changes.items():
        old, new = change.old, change.new
        if may_hide and _hides(policy, names, path, (old, new)):
            continue
        told: dict[str, Any] = {"path": path, "unsure": old is UNKNOWN, "open": new is UNKNOWN}
        if type(old) is not Marker:
            told["old"] = old
        if type(new) is not Marker:
            told["new"] = new
        paths.append(told)
    body = {"id": sent.id, "operation": sent.operation.value, "paths": paths}
    database = collection.database
    return codec.to_text(
        {
            "servers": _servers(database.client.topology_description),
            "database": database.name,
            "collection": collection.name,
            "bson": b64encode(bson.encode(body, codec_options=collection.codec_options)).decode(),
        }
    )


_known_servers: Final[WeakKeyDictionary[Any, list[str]]] = WeakKeyDictionary()


def _servers(described: Any) -> list[str]:
    """The addresses in what a client knows of its servers, which is replaced when it changes."""
    found = _known_servers.get(described)
    if found is None:
        servers = described.server_descriptions()
        found = _known_servers[described] = sorted(f"{host}:{port}" for host, port in servers)
    return found


def _hides(policy: Policy, names: Mapping[str, str], path: str, values: Iterable[Any]) -> bool:
    """Whether the log hides, or may hide, these values at a path of the database's."""
    top, *below = path.split(".")
    name = names.get(top, top)
    if name in policy.exclude or name in policy.mask:
        return True
    return policy.conceals and _conceals(policy, [name, *below], values)


def _conceals(policy: Policy, path: list[str], values: Iterable[Any]) -> bool:
    """Whether something is, or may be, to be hidden of these values.

    Paths are told in attribute names, so that of a field with any nothing is traced.
    """
    field, *segments = path
    inside, _ = policy.inside_of(field).followed(segments)
    if inside is None or any(one[0] == field for one in policy.inside):
        return True
    return any(any(hidden_places(inside.hide(value))) for value in values)


@contextmanager
def given_client(uri: str) -> Iterator[MongoClient[Any]]:
    """A client for a URI. Raises ``ConfigurationError`` and ``StoreUnreachable``."""
    try:
        client: MongoClient[Any] = MongoClient(uri, serverSelectionTimeoutMS=10_000)
    except (PyMongoError, ValueError) as error:
        raise ConfigurationError(
            f"the URI of the documents cannot be read ({type(error).__name__}): write it as "
            "pymongo does, mongodb://user:password@host:port/"
        ) from None  # its message may show the password
    try:
        yield client
    except PyMongoError as error:
        raise StoreUnreachable(
            f"the MongoDB of the documents cannot be asked ({type(error).__name__}): check that it "
            "runs, and the host, port, user and password"
        ) from error
    finally:
        client.close()


def connected(servers: list[str]) -> MongoClient[Any] | None:
    """The client of mongoengine's that is connected to one of these servers."""
    for client in connection._connections.values():
        known = client.topology_description.server_descriptions()
        if not {f"{host}:{port}" for host, port in known}.isdisjoint(servers):
            found: MongoClient[Any] = client
            return found
    return None


def looking_at(client_of: ClientOf) -> Callable[[str], Verdict]:
    """What gives the verdict for a trace by looking at its document."""

    def look(trace: str) -> Verdict:
        told = codec.from_text(trace)
        client = client_of(told["servers"])
        if client is None:
            where = ", ".join(told["servers"])
            return Verdict.unclear(f"there is no connection to the MongoDB at {where}")
        collection: Collection[Any] = client[told["database"]].get_collection(
            told["collection"],
            codec_options=_OPTIONS,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("local"),
        )
        body = bson.decode(b64decode(told["bson"]), codec_options=_OPTIONS)
        return _verdict(body, collection.find_one({"_id": body["id"]}))

    return look


def _verdict(body: dict[str, Any], document: dict[str, Any] | None) -> Verdict:
    operation = Operation(body["operation"])
    if operation is Operation.DELETE:
        return Verdict.happened() if document is None else Verdict.did_not()
    if document is None:
        if operation is Operation.INSERT:
            return Verdict.did_not()
        return Verdict.unclear("the document is gone, and the log does not tell who removed it")
    paths = body["paths"]
    now = [reached(document, one["path"].split(".")) for one in paths]
    as_new = [  # where only the server knew what it would become, that it is another has to do
        one.get("open") or same(value, one.get("new", ABSENT))
        for one, value in zip(paths, now, strict=True)
    ]
    if operation is Operation.INSERT:
        if all(as_new):
            return Verdict.happened()
        return Verdict.unclear("the document has other values than were to be inserted")
    known = [(value, one) for one, value in zip(paths, now, strict=True) if not one["unsure"]]
    if known and all(same(value, one.get("old", ABSENT)) for value, one in known):
        return Verdict.did_not()
    if known and all(as_new):
        return Verdict.happened()
    if not known:
        return Verdict.unclear("its old values are not known, or hidden")
    return Verdict.unclear("the document has neither the old values nor the new ones")
