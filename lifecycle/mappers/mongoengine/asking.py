"""One call of a collection's method that writes: making it, and reading around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import cache
from inspect import signature
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import bson
from bson import CodecOptions, ObjectId
from pymongo import ReadPreference
from pymongo.collection import Collection
from pymongo.errors import ConnectionFailure, ExecutionTimeout, WriteConcernError
from pymongo.read_concern import ReadConcern

from lifecycle.mappers.mongoengine.transactions import current
from lifecycle.mappers.mongoengine.updates import Names
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.markers import UNKNOWN

__all__ = ["Asked", "Pair", "Son", "Taker", "all_unknown", "arguments", "id_key", "leaves_doubt"]

Son: TypeAlias = dict[str, Any]


class Pair(NamedTuple):
    """A document before a write and after it, of the fields it may have changed.

    ``None`` where there was no document, or is none any more; values may be ``UNKNOWN``.
    """

    before: Son | None
    after: Son | None


class Taker(Protocol):
    """Takes what a write did, as soon as it is done."""

    @property
    def needs_all(self) -> bool:
        """Whether it needs all fields of every document."""
        ...

    @property
    def intends(self) -> bool:
        """Whether it is to be told before something is written."""
        ...

    def intend(self, pairs: Sequence[Pair], collection: Any) -> None:
        """These documents of a collection are about to be written, as a portion of their own.

        New values may be ``UNKNOWN``. Raises, and then nothing may be written.
        """
        ...

    def withdraw(self) -> None:
        """Of what was announced, and not taken since, nothing has been written."""
        ...

    def take(self, pairs: Sequence[Pair]) -> None:
        """These documents were written; they are of the portion that was announced first."""
        ...

    def miss(self, why: str) -> None:
        """Something was written, or may have been, of which no pair will tell."""
        ...


_NEEDED: Final[Mapping[str, Set[str]]] = {
    "bulk_write": {"requests"},
    "delete_many": {"filter"},
    "delete_one": {"filter"},
    "find_one_and_delete": {"filter"},
    "find_one_and_replace": {"filter", "replacement"},
    "find_one_and_update": {"filter", "update"},
    "insert_many": {"documents"},
    "insert_one": {"document"},
    "replace_one": {"filter", "replacement"},
    "update_many": {"filter", "update"},
    "update_one": {"filter", "update"},
}
"""What a method that writes cannot do without."""


@cache
def _signature(name: str) -> Any:
    return signature(getattr(Collection, name))


def arguments(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Son | None:
    """The arguments of a method of a collection, by name.

    ``None`` when it does not take them, or when another library has put a function of its own there
    that does not tell which it takes.
    """
    try:
        bound = _signature(name).bind(None, *args, **kwargs)
    except TypeError:
        return None
    given = dict(bound.arguments)
    given |= given.pop("kwargs", {})
    given.pop("self", None)
    return given if _NEEDED[name] <= given.keys() else None


class Asked:
    """What was asked of a collection, and of what becomes of it whom to tell."""

    def __init__(
        self, collection: Any, name: str, given: Son, taker: Taker, call: Callable[[], Any]
    ) -> None:
        self.collection = collection
        self.plain = _plain(collection)
        self.name = name
        self.given = given
        self.taker = taker
        self._call = call
        self._announced = False

    def make(self, **changes: Any) -> Any:
        """Make the call, with some arguments changed."""
        try:
            if not changes:
                return self._call()
            return getattr(self.collection, self.name)(**{**self.given, **changes})
        except (ConnectionFailure, WriteConcernError) as error:
            self._doubt(error)
            raise

    def announce(self, pairs: Sequence[Pair]) -> None:
        """Tell of a portion of it that is about to be made, to who wants to know that."""
        if self.taker.intends:
            self.taker.intend(pairs, self.collection)
            self._announced = True

    def _doubt(self, error: Exception) -> None:
        """Nobody knows whether it was made. What was announced will be settled."""
        if not self._announced:
            self.taker.miss(f"{type(error).__name__} was raised, and it may be written or not")

    def options(self, *names: str) -> Son:
        """Those of its arguments that were given."""
        return {name: self.given[name] for name in names if self.given.get(name) is not None}

    @property
    def in_transaction(self) -> bool:
        """Whether an error ends the transaction it runs in, so that nothing can be tried again."""
        session = self.given.get("session")
        return current() is not None if session is None else bool(session.in_transaction)

    def wanted(self, names: Names) -> Names:
        """Which of the fields that it may change are to be read."""
        return None if self.taker.needs_all else names

    def find(self, filter: Any, names: Names, **options: Any) -> Any:
        """A cursor over documents as they are now, found as the call would find them."""
        options = {**self.options("session", "collation", "hint", "let"), **options}
        return self.plain.find(filter, _projection(names), **options)

    def find_one(self, names: Names) -> Son | None:
        """The document it would write, as it is now."""
        options = self.options("session", "collation", "hint", "let", "sort")
        found: Son | None = self.plain.find_one(self.given["filter"], _projection(names), **options)
        return found

    def read(self, ids: Sequence[Any], names: Names) -> list[Son]:
        """The documents with these ids, as they are now."""
        session = self.given.get("session")
        these = {"_id": {"$in": [*ids]}}
        # In one answer, where the server would give the first hundred and be asked for the others.
        return list(
            self.plain.find(these, _projection(names), session=session, batch_size=len(ids) + 1)
        )

    def hit(self, method: str, names: Names, **what: Any) -> Son | None:
        """Write one document by a method that gives what it was before.

        ``None`` when nothing was written: as there is none, or for an error that the call itself
        will meet too.
        """
        taken = ("sort", "hint", "session", "let", "comment", "collation", "array_filters")
        options = self.options(*taken)
        if self.given.get("bypass_document_validation"):
            options["bypassDocumentValidation"] = True
        try:
            found: Son | None = getattr(self.plain, method)(
                self.given["filter"], projection=_projection(names), **what, **options
            )
        except (ConnectionFailure, WriteConcernError) as error:
            self._doubt(error)
            raise
        except Exception:
            if self.in_transaction:
                raise
            return None
        return found

    def as_read(self, found: Any, names: Names = None) -> Son:
        """A document that the call returned, as a plain one, of some fields."""
        son = found if type(found) is dict else as_stored(found, self.collection)
        if names is None:
            return dict(son)
        return {name: son[name] for name in ("_id", "_cls", *names) if name in son}

    def inserted(self, ids: Sequence[Any]) -> None:
        """Tell of documents that the server made."""
        found = self.read(ids, None)
        if len(found) < len(ids):
            self.taker.miss("what it inserted is not found by its id")
        self.taker.take([Pair(None, one) for one in found])


def all_unknown(son: Son, names: Names) -> Son:
    """A document of which only the identity is known."""
    known: Son = {name: son[name] for name in ("_id", "_cls") if name in son}
    unknown: Son = dict.fromkeys(son if names is None else names, UNKNOWN)
    return unknown | known


def leaves_doubt(error: BaseException | None) -> bool:
    """Whether, for all the caller knows, the server may have written it."""
    return isinstance(error, ConnectionFailure | WriteConcernError | ExecutionTimeout) or (
        error is not None and not isinstance(error, Exception)
    )


def id_key(id: Any) -> Any:
    """A document's ``_id`` as a key of a dict, for some are none."""
    return id if type(id) is ObjectId or type(id) is str else bson.encode({"": id})


def _projection(names: Names) -> dict[str, int] | None:
    return None if names is None else dict.fromkeys(("_id", "_cls", *sorted(names)), 1)


def _plain(collection: Any) -> Any:
    """The collection, giving plain dicts, of what has been written last."""
    options = collection.codec_options
    if not isinstance(options, CodecOptions):  # those of a stand-in for pymongo, as in tests
        return collection
    return collection.with_options(
        codec_options=options.with_options(document_class=dict),
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern(),
    )
