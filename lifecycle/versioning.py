"""Which field counts the versions of an object: what `versioned` says of a model.

The mappers carry it out: they write an object only if it still is the version that was loaded.
"""

from __future__ import annotations

from typing import Final

__all__ = ["version_of", "versioned_by"]

_VERSION: Final = "__lifecycle_version__"


def versioned_by(cls: type, field: str) -> None:
    """Let a field of a model, and of its subclasses, count versions."""
    setattr(cls, _VERSION, field)


def version_of(cls: type) -> str | None:
    """The field that counts the versions of a model's objects, if any does."""
    found: str | None = getattr(cls, _VERSION, None)
    return found
