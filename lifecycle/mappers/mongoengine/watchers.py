"""Who watches which document classes, while anything is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

from lifecycle.changes import ChangeSet, Operation
from lifecycle.mappers.mongoengine.bulk import Part
from lifecycle.mappers.mongoengine.fields import keeps_its_son_apart
from lifecycle.mappers.mongoengine.load_hooks import LoadHooks
from lifecycle.mappers.mongoengine.objects import joins
from lifecycle.mappers.mongoengine.writing import Writing

__all__ = ["Loading", "Watcher", "Watchers", "Wrapping"]


class Loading(NamedTuple):
    """What a load of a document of some class takes besides.

    Its SON is kept, ``as_copy`` where the document hands out parts of it, to be changed in place;
    and with whom it was loaded, if they are ``joined``. ``hooks`` are run, mostly none. A ``plain``
    one keeps its SON and no more.
    """

    as_copy: bool
    joined: bool
    hooks: tuple[LoadHooks, ...]
    plain: bool


class Watcher(Protocol):
    """One Lifecycle's interest in documents."""

    def watches(self, cls: type) -> bool:
        """Whether it is installed on this document class."""
        ...

    def writing(self, document: Any, operation: Operation, era: Watchers) -> Writing | None:
        """Its part in a write of a document; ``None`` when it wants nothing of it."""
        ...

    def part(self, cls: type, call: str, cause: str | None, bulk: bool) -> Part | None:
        """Its part in a write that passes ``save`` and ``delete`` by, of documents of a class."""
        ...

    def filled(self, cls: type, changes: ChangeSet) -> dict[str, Any]:
        """What behaviours of a class want a write set that passes ``save`` by, as it is stored."""
        ...

    def marks(self, cls: type) -> bool:
        """Whether it marks documents of a class that are deleted, where their class says so."""
        ...

    def fitted(self, cls: type, field: str, value: Any) -> Any:
        """A value in the form that a field has it in."""
        ...

    def load_hooks(self, cls: type) -> LoadHooks | None:
        """What it runs when documents of this class are loaded; ``None`` for nothing."""
        ...


class Watchers:
    """The watchers from the first installation to the last: one era of seeing every write.

    What was loaded in another era is not trusted, for writes between the two went unseen.
    """

    def __init__(self) -> None:
        self.all: tuple[Watcher, ...] = ()
        self._by_class: dict[type, tuple[Watcher, ...]] = {}
        self.loading = _Loadings(self)

    def become(self, watchers: tuple[Watcher, ...]) -> None:
        """Replace who watches, or ask them again which classes they watch."""
        self.all = watchers
        self._by_class = {}
        self.loading = _Loadings(self)

    def of(self, cls: type) -> tuple[Watcher, ...]:
        """Who watches a class."""
        by_class = self._by_class  # if replaced meanwhile, what is found goes with it
        found = by_class.get(cls)
        if found is None:
            found = by_class[cls] = tuple(one for one in self.all if one.watches(cls))
        return found

    def parts(self, cls: type, call: str, cause: str | None, bulk: bool) -> list[Part]:
        """The parts of all in a write that passes ``save`` and ``delete`` by."""
        parts = (watcher.part(cls, call, cause, bulk) for watcher in self.all)
        return [part for part in parts if part is not None]


class _Loadings(dict[Any, Loading | None]):
    """What loads of each class of documents take, ``None`` for nothing; asked at every load."""

    def __init__(self, watchers: Watchers) -> None:
        super().__init__()
        self._watchers = watchers

    def __missing__(self, cls: Any) -> Loading | None:
        watching = self._watchers.of(cls)
        loading = self[cls] = self._loading(cls, watching) if watching else None
        return loading

    def _loading(self, cls: Any, watching: tuple[Watcher, ...]) -> Loading:
        as_copy = not all(map(keeps_its_son_apart, cls._fields.values()))
        joined = joins(cls)
        found = (watcher.load_hooks(cls) for watcher in watching)
        hooks = tuple(one for one in found if one is not None)
        return Loading(as_copy, joined, hooks, not (as_copy or joined or hooks))


Wrapping: TypeAlias = Callable[[Watchers, Callable[..., Any]], Callable[..., Any]]
"""Makes the function that takes the place of one of mongoengine's."""
