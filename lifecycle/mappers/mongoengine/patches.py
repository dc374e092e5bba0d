"""The functions of mongoengine that are replaced while anything is installed.

mongoengine has no events that tell what is written, so its own functions are wrapped: those of
``Document`` and ``BaseQuerySet``, once for the whole process, however many Lifecycles watch. Who
watches is kept here, beside the functions, which belong to the process too. With the last watcher
gone the original functions are back.
"""

from __future__ import annotations

from threading import RLock
from typing import Any, Final, NamedTuple

from mongoengine import Document
from mongoengine.queryset.base import BaseQuerySet

from lifecycle.errors import InstallError
from lifecycle.mappers.mongoengine import document_writes, loading, queries, removing, saving
from lifecycle.mappers.mongoengine.watchers import Watcher, Watchers, Wrapping

__all__ = ["refresh", "unwatch", "watch"]

_WRAPPINGS: Final[tuple[tuple[Any, str, Wrapping], ...]] = (
    (Document, "save", saving.save),
    (Document, "_save_create", saving.save_step),
    (Document, "_save_update", saving.save_step),
    (Document, "delete", saving.delete),
    (Document, "update", document_writes.update),
    (Document, "modify", document_writes.modify),
    (Document, "_get_collection", queries.get_collection),
    (Document, "reload", loading.reload),
    (Document, "from_json", loading.document_from_json),
    (Document, "_from_son", loading.from_son),
    (Document, "__setstate__", loading.setstate),
    (BaseQuerySet, "__init__", removing.init),
    (BaseQuerySet, "no_sub_classes", removing.no_sub_classes),
    (BaseQuerySet, "__next__", loading.item),
    (BaseQuerySet, "__getitem__", loading.item),
    (BaseQuerySet, "in_bulk", loading.in_bulk),
    (BaseQuerySet, "from_json", loading.queryset_from_json),
    (BaseQuerySet, "insert", queries.insert),
    (BaseQuerySet, "update", queries.update),
    (BaseQuerySet, "delete", queries.delete),
    (BaseQuerySet, "modify", queries.modify),
)

_lock: Final = RLock()
_patches: Patches | None = None


class _Replaced(NamedTuple):
    owner: Any
    name: str
    wrapper: Any
    original: Any  # what the owner itself had there; None when it inherits it


class Patches:
    """The wrappers in their places, from the first installation to the last."""

    def __init__(self) -> None:
        self.watchers: Final = Watchers()
        self._replaced: Final = [
            self._replace(owner, name, wrapping) for owner, name, wrapping in _WRAPPINGS
        ]
        BaseQuerySet.with_deleted = removing.with_deleted

    def _replace(self, owner: Any, name: str, wrapping: Wrapping) -> _Replaced:
        original = getattr(owner, name)
        function = getattr(original, "__func__", None)  # that of a class method
        wrapper: Any = wrapping(self.watchers, function or original)
        wrapper = classmethod(wrapper) if function else wrapper
        replaced = _Replaced(owner, name, wrapper, vars(owner).get(name))
        setattr(owner, name, wrapper)
        return replaced

    def remove(self) -> None:
        """Put the originals back.

        A wrapper that another library has wrapped since stays below that one, and does nothing.
        """
        del BaseQuerySet.with_deleted
        for owner, name, wrapper, original in self._replaced:
            if vars(owner).get(name) is not wrapper:
                continue
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)


def watch(watcher: Watcher) -> None:
    """Let it see the writes of the classes it watches, from now on.

    Raises ``InstallError`` when this version of mongoengine has not the functions to replace.
    """
    global _patches
    with _lock:
        if _patches is None:
            _require_functions()
            _patches = Patches()
        _patches.watchers.become((*_patches.watchers.all, watcher))


def unwatch(watcher: Watcher) -> None:
    """Let it see nothing more."""
    global _patches
    with _lock:
        assert _patches is not None  # the watcher is among its watchers
        watchers = _patches.watchers
        watchers.become(tuple(one for one in watchers.all if one is not watcher))
        if not watchers.all:
            _patches.remove()
            _patches = None


def refresh() -> None:
    """Ask the watchers again which classes they watch, and what they want of them."""
    with _lock:
        if _patches is not None:
            _patches.watchers.become(_patches.watchers.all)


def _require_functions() -> None:
    missing = [
        f"{owner.__name__}.{name}" for owner, name, _ in _WRAPPINGS if not hasattr(owner, name)
    ]
    if missing:
        raise InstallError(
            f"this version of mongoengine has no {', '.join(missing)}, so what it writes cannot "
            "be seen: use mongoengine 0.29"
        )
