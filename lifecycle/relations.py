"""How objects lead to other objects, as far as their recorded values tell."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Pointer", "Relation", "Values", "labels_of"]

Values: TypeAlias = Mapping[str, Any]
"""An object's fields as the log holds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A relationship of a model to another, in the terms of the log.

    ``fields`` are those of its own model that it goes by. Either ``keys`` tells the targets' keys
    from an object's values, or ``holds`` tells whether a target belongs to an object, by the values
    of both; then ``target_fields`` are those of the target that it goes by.
    """

    target: str
    fields: tuple[str, ...]
    keys: Callable[[Values], Iterable[str]] | None = None
    holds: Callable[[Values, Values], bool] | None = None
    target_fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """How objects of ``source`` point to those of ``target``, in the terms of the log.

    ``keys`` tells from the values of ``fields`` which ones.
    """

    source: str
    target: str
    fields: tuple[str, ...]
    keys: Callable[[Values], Iterable[str]]


def labels_of(choices: Any) -> dict[Any, str]:
    """What people call the values of a field, where its choices are pairs of value and label."""
    given = choices if isinstance(choices, list | tuple) else ()
    pairs = (one for one in given if isinstance(one, list | tuple) and len(one) == 2)
    return {value: str(label) for value, label in pairs if isinstance(value, Hashable)}
