"""mongoengine's registry of document classes, which keeps every class that was ever defined."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mongoengine


@contextmanager
def documents_forgotten() -> Iterator[None]:
    """Leave no document class of the block to others; one that somebody has is disconnected."""
    registry = mongoengine.base.common._document_registry
    before = dict(registry)
    try:
        yield
    finally:
        for name, cls in list(registry.items()):
            if before.get(name) is not cls:
                del registry[name]
                if hasattr(cls, "_disconnect"):
                    cls._disconnect()
        registry.update(before)
