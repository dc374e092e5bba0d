"""BSON values: as the server gives them back, and as they go into the log."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final

import bson
from bson import (
    Binary,
    Code,
    CodecOptions,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from bson.binary import UuidRepresentation

from lifecycle import codec

__all__ = ["as_stored", "copied"]

_PLAIN: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    document_class=dict, uuid_representation=UuidRepresentation.STANDARD
)


def as_stored(document: Any, collection: Any = None) -> dict[str, Any]:
    """A document as the server would give it back, to a collection with its options.

    Datetimes are cut to milliseconds, tuples become lists, large integers ``Int64``: what is
    recorded then equals what a later load finds. Shares nothing with the original. Raises what
    ``bson.encode`` raises for a value that BSON does not have.
    """
    options = _PLAIN if collection is None else collection.codec_options
    if not isinstance(options, CodecOptions):  # those of a stand-in for pymongo, as in tests
        options = _PLAIN
    elif options.document_class is not dict:
        options = options.with_options(document_class=dict)
    return bson.decode(bson.encode(document, codec_options=options), codec_options=options)


def copied(value: Any) -> Any:
    """The same value in containers of its own, plain dicts and lists."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


# --- their forms in the log, after MongoDB Extended JSON ------------------------------------
#
# The codec's objects have one key, so what Extended JSON spreads over two is one object here.


def _code_to_json(code: Code) -> Any:
    scope = None if code.scope is None else codec.encode(dict(code.scope))
    return {"code": str(code), "scope": scope}


def _code_from_json(data: Any) -> Code:
    return Code(data["code"], None if data["scope"] is None else codec.decode(data["scope"]))


def _reference_to_json(reference: DBRef) -> Any:
    return {
        "collection": reference.collection,
        "id": codec.encode(reference.id),
        "database": reference.database,
        "extra": codec.encode(_extra(reference)),
    }


def _extra(reference: DBRef) -> dict[str, Any]:
    return {
        key: value for key, value in reference.as_doc().items() if key not in ("$ref", "$id", "$db")
    }


def _reference_from_json(data: Any) -> DBRef:
    return DBRef(
        data["collection"],
        codec.decode(data["id"]),
        data["database"],
        codec.decode(data["extra"]),
    )


def _regex_to_json(regex: Regex[Any]) -> Any:
    return {"pattern": codec.encode(regex.pattern), "options": regex.flags}


def _binary_from_json(data: Any) -> Binary:
    return Binary(b64decode(data["base64"], validate=True), int(data["subType"], 16))


codec.register("$oid", ObjectId, str, ObjectId)
codec.register("$ref", DBRef, _reference_to_json, _reference_from_json)
codec.register("$numberDecimal", Decimal128, str, Decimal128)
codec.register("$numberLong", Int64, int.__repr__, Int64)
codec.register(
    "$binary",
    Binary,
    lambda binary: {"base64": b64encode(binary).decode(), "subType": f"{binary.subtype:02x}"},
    _binary_from_json,
)
codec.register("$code", Code, _code_to_json, _code_from_json)
codec.register(
    "$regularExpression",
    Regex,
    _regex_to_json,
    lambda data: Regex(codec.decode(data["pattern"]), data["options"]),
)
codec.register(
    "$timestamp",
    Timestamp,
    lambda timestamp: {"t": timestamp.time, "i": timestamp.inc},
    lambda data: Timestamp(data["t"], data["i"]),
)
codec.register("$minKey", MinKey, lambda value: 1, lambda data: MinKey())
codec.register("$maxKey", MaxKey, lambda value: 1, lambda data: MaxKey())
