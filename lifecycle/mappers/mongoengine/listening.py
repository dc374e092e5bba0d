"""Listens to a collection for bulk writes, and has each Lifecycle record its part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mongoengine import Document
from msgspec.structs import replace

from lifecycle.bundles import behaviours_of
from lifecycle.mappers.mongoengine.asking import Asked, Pair, Taker, arguments
from lifecycle.mappers.mongoengine.bulk import Part, Parts
from lifecycle.mappers.mongoengine.capturing import capture
from lifecycle.mappers.mongoengine.counting import counted
from lifecycle.mappers.mongoengine.documents import all_subclasses, is_concrete
from lifecycle.mappers.mongoengine.filling import UPDATES, filled
from lifecycle.mappers.mongoengine.images import Image
from lifecycle.mappers.mongoengine.sending import Announce, Sent, sent_of
from lifecycle.mappers.mongoengine.tapping import target_of
from lifecycle.mappers.mongoengine.watchers import Watchers
from lifecycle.written import MIGRATION

__all__ = ["Bulk", "Seen", "migrating"]


class Seen:
    """Keeps what was written, in order, as if it had been sent by saving the documents."""

    needs_all = False
    intends = False

    def __init__(self, era: object) -> None:
        self.sent: list[Sent] = []
        self.announce: Announce | None = None  # never called: it hears of them afterwards
        self.written: Callable[[], None] | None = None  # nor this: others record them
        self.pairs: list[Pair] = []
        self._era = era

    def intend(self, pairs: Sequence[Pair], collection: Any) -> None:
        """It hears of them afterwards."""

    def withdraw(self) -> None:
        """Nothing was announced."""

    def take(self, pairs: Sequence[Pair]) -> None:
        """Keep it."""
        self.pairs += pairs
        self.sent += [_sent(pair, self._era) for pair in pairs]

    def miss(self, why: str) -> None:
        """Nothing to keep."""


def _sent(pair: Pair, era: object) -> Sent:
    before, after = (Image({} if one is None else one, None, era) for one in pair)
    return replace(sent_of(pair), before=before, after=after)


def migrating(watchers: Watchers, cls: Any) -> Bulk:
    """Hears of what a lazy migration writes, and records it."""
    call = f"the migration of {cls.__qualname__}"
    return Bulk(watchers, cls, call, cause=MIGRATION, bulk=False)


class Bulk:
    """Hears of the writes of a class's documents that pass ``save`` and ``delete`` by.

    ``call`` is what the application called, when that is no method of the collection itself.
    ``observers`` are told of every document; ``followers`` of those that somebody else is told of.
    """

    def __init__(
        self,
        watchers: Watchers,
        cls: type,
        call: str | None = None,
        *,
        cause: str | None = None,
        bulk: bool = True,
    ) -> None:
        self.observers: list[Taker] = []
        self.followers: list[Taker] = []
        self._watchers = watchers
        self.cls = cls
        self._call = call
        self._cause = cause
        self._bulk = bulk
        self.has_counted = False
        """Whether the last update was made to count versions."""

    def __call__(
        self, collection: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make the write, and record it."""
        if name in UPDATES and self._cause != MIGRATION:
            args, kwargs = self._filled(name, args, kwargs)
        call = self._call or f"{self.cls.__qualname__}._get_collection().{name}()"
        if name == "aggregate":
            return self._aggregate(collection, call, args, kwargs)
        parts = self._watchers.parts(self.cls, call, self._cause, self._bulk)
        for part in parts:
            part.check()
        takers: list[Taker] = [part for part in parts if part.mode == "rows"]
        takers += self.observers
        takers += self.followers if takers else []
        wholes = [part for part in parts if part.mode == "statement"]

        def make() -> Any:
            return getattr(collection, name)(*args, **kwargs)

        if not (takers or wholes):
            return make()
        given = arguments(name, args, kwargs)
        if given is None:
            result = make()
            Parts([*takers, *wholes]).miss("what it was called with cannot be told")
            return result
        try:
            if takers:
                result = capture(Asked(collection, name, given, Parts(takers), make))
            else:
                result = make()
        except Exception:
            if name.endswith(("_many", "bulk_write")):
                for part in wholes:
                    part.miss("it failed, and may have written some of it")
            raise
        for part in wholes:
            part.take_whole(collection, name, given, result)
        return result

    def _filled(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of an update with what behaviours set besides.

        Hooks have done so already where a document is at hand, but for its version.
        """
        if not behaviours_of(self.cls):
            return args, kwargs
        given, watchers = arguments(name, args, kwargs), self._watchers.of(self.cls)
        if given is None or not watchers:
            return args, kwargs
        update = filled(self.cls, given, watchers[0].filled) if self._bulk else given["update"]
        found = counted(self.cls, update)
        self.has_counted = found is not update
        return (), {**given, "update": found}

    def _aggregate(
        self, collection: Any, call: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """An aggregation that writes, of which nobody can know what it changed."""
        parts = self._parts_of_collection(target_of(args[0]), call)
        for part in parts:
            part.check()
        result = collection.aggregate(*args, **kwargs)
        for part in parts:
            if part.mode != "off":
                part.miss("an aggregation wrote it")
        return result

    def _parts_of_collection(self, name: str | None, call: str) -> list[Part]:
        for cls in all_subclasses(Document):
            if is_concrete(cls) and cls._get_collection_name() == name:  # type: ignore[attr-defined]
                return self._watchers.parts(cls, call, self._cause, self._bulk)
        return []
