"""Seeing what mongoengine sends to a collection, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

__all__ = ["Listener", "Tapped", "tapped_document", "tapped_queryset", "target_of", "untapped"]

Listener: TypeAlias = Callable[[Any, str, tuple[Any, ...], dict[str, Any]], Any]
"""Called with the collection, the write method's name and its arguments; makes that call."""

_GETTER: Final = "_get_collection"
_WRITES: Final = frozenset(
    {
        "aggregate",  # some of its stages write
        "bulk_write",
        "delete_many",
        "delete_one",
        "find_one_and_delete",
        "find_one_and_replace",
        "find_one_and_update",
        "insert_many",
        "insert_one",
        "replace_one",
        "update_many",
        "update_one",
    }
)


class Tapped:
    """Stands in for a collection, and hands each write through it to a listener.

    To everybody else it is that collection: it has its class, equals it, and does what it does.
    """

    def __init__(self, collection: Any, listener: Listener) -> None:
        self.collection: Final = collection
        self.listener: Final = listener

    @property  # type: ignore[misc]  # isinstance() asks for it, and is told what it stands for
    def __class__(self) -> type:
        return type(self.collection)

    def __repr__(self) -> str:
        return repr(self.collection)

    def __eq__(self, other: object) -> bool:
        return bool(self.collection == untapped(other))

    def __hash__(self) -> int:
        return hash(self.collection)

    def __bool__(self) -> bool:
        return bool(self.collection)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.collection(*args, **kwargs)

    def with_options(self, *args: Any, **kwargs: Any) -> Tapped:
        """The same with other options, as a collection's own method."""
        return Tapped(self.collection.with_options(*args, **kwargs), self.listener)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which Python asks for, also while it makes a copy of this
            raise AttributeError(name)
        found = getattr(self.collection, name)
        if name not in _WRITES:
            return found

        def write(*args: Any, **kwargs: Any) -> Any:
            if name == "aggregate" and target_of(args[0] if args else None) is None:
                return found(*args, **kwargs)
            return self.listener(self.collection, name, args, kwargs)

        return write

    def __getitem__(self, name: str) -> Any:
        return self.collection[name]


def target_of(pipeline: Any) -> str | None:
    """The collection that an aggregation writes into; ``None`` when it only reads."""
    stage = pipeline[-1] if isinstance(pipeline, list) and pipeline else {}
    target = stage.get("$out", stage.get("$merge")) if isinstance(stage, Mapping) else None
    if isinstance(target, Mapping):
        target = target.get("into", target.get("coll"))
    if isinstance(target, Mapping):
        target = target.get("coll")
    return target if isinstance(target, str) else None


def untapped(collection: Any) -> Any:
    """The collection itself."""
    return collection.collection if isinstance(collection, Tapped) else collection


class tapped_document:
    """Let a listener see what one document sends, through the way it gets its collection."""

    __slots__ = ("_attributes", "_before", "_getter", "_listener", "_ours")

    def __init__(self, document: Any, listener: Listener) -> None:
        self._attributes = vars(document)
        self._getter = document._get_collection
        self._listener = listener

    def __enter__(self) -> None:
        self._before = self._attributes.get(_GETTER)  # that of a switched document, or of a tap
        self._attributes[_GETTER] = self._ours = self._get_collection

    def _get_collection(self) -> Tapped:
        return Tapped(untapped(self._getter()), self._listener)

    def __exit__(self, *raised: object) -> None:
        if self._attributes.get(_GETTER) is self._ours:
            del self._attributes[_GETTER]
            if self._before is not None:
                self._attributes[_GETTER] = self._before
        del self._ours  # which leads back here: there is one at every save


@contextmanager
def tapped_queryset(queryset: Any, listener: Listener) -> Iterator[None]:
    """Let a listener see what one queryset sends."""
    before = queryset._collection_obj
    queryset._collection_obj = Tapped(untapped(before), listener)
    try:
        yield
    finally:
        queryset._collection_obj = before
