"""Putting objects back, as the log's side and the mappers' side agree on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from lifecycle.changes import ChangeSet, Operation

__all__ = ["Obstacle", "ObstacleKind", "Said", "Shape", "Site", "Sites", "Step", "Values"]

Values: TypeAlias = Mapping[str, Any]
"""An object's fields as the log holds them."""


class Said(str):
    """A sentence about an object, or a part of one: English, and what it takes to say it otherwise.

    ``text`` has places such as ``%(field)s``, which ``values`` fill; a value may be `Said` too.
    """

    text: str
    values: Mapping[str, object]

    def __new__(cls, text: str, /, **values: object) -> Said:
        self = super().__new__(cls, text % values)
        self.text, self.values = text, values
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the mapping has of one object's class now.

    ``fields`` can be written, collections of keys among them. ``kept`` are those that the mapping
    itself keeps when it updates a row, and ``generated`` those nobody can write. ``required`` have
    to be given to insert one. ``hidden`` are not in the log. An object of a ``sparse`` class may be
    without a field. One of a ``marked`` class stays when it is removed, and is only marked.
    ``alike`` tells, of fields whose type makes something else of what is stored, whether two stored
    values are of one value.
    """

    fields: frozenset[str]
    collections: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    generated: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    sparse: bool = False
    marked: bool = False
    alike: Mapping[str, Callable[[Any, Any], bool]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to be done to one object: from how it stands to how it is to be.

    ``before`` and ``after`` are ``None`` where there is no object; ``changes`` leads from one to
    the other. ``key`` is the object's now, ``new_key`` the one it will have.
    """

    entity: str
    key: str
    new_key: str
    operation: Operation
    before: Values | None
    after: Values | None
    changes: ChangeSet


ObstacleKind: TypeAlias = Literal[
    "changed",
    "gone",
    "exists",
    "reference",
    "referenced",
    "unique",
    "dropped",
    "unknown",
    "required",
    "statement",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a step cannot be taken, found before anything is written.

    ``changed``: the field is no longer as the change left it. ``gone`` and ``exists``: the object,
    or another one with its key. ``reference``: what it would refer to is not there. ``referenced``:
    others would be left behind. ``unique``: another object has its unique value. ``dropped``: there
    is no such field, class or model any more. ``unknown``: the log does not hold the value.
    ``required``: nor one that the database insists on. ``statement``: a statement changed rows
    without telling them apart. ``message`` is mostly `Said`, so that it can be told in another
    language.
    """

    entity: str
    key: str
    kind: ObstacleKind
    message: str
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.entity} {self.key}: {self.message}"


class Site(Protocol):
    """One mapper's objects, in one session where it has such."""

    def has(self, entity: str) -> bool:
        """Whether a model of that name is this mapper's."""
        ...

    def shape(self, entity: str, values: Values) -> Shape:
        """What the class of an object has; raises ``HistoryError`` when its class is gone."""
        ...

    def read(self, entity: str, key: str, *, lock: bool = False) -> Values | None:
        """An object as the database holds it now, in the terms of the log; ``None`` for none.

        Raises ``HistoryError`` for a key whose identity cannot be told from its text.
        """
        ...

    def obstacles(self, steps: Sequence[Step]) -> Iterator[Obstacle]:
        """What the database, or other objects, would have against these steps together."""
        ...

    def apply(self, steps: Sequence[Step]) -> None:
        """Take the steps through the mapper, its validation and its hooks, in an order that works.

        Raises ``ConflictError`` when the database refuses one.
        """
        ...

    def make_way(self) -> bool:
        """Let others write to the same database; returns whether it took a commit."""
        ...


class Sites(Protocol):
    """Opens the sites of every mapper, to be committed together."""

    def __call__(self, session: Any) -> AbstractContextManager[Sequence[Site]]:
        """Within the block, in a transaction that ends with it unless a session was given."""
        ...
