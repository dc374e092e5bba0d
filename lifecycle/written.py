"""What a mapper has written: the link between capturing a change and recording it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.forms import Column, Form
from lifecycle.policy import Policy
from lifecycle.spooling import CHUNK, chunks

__all__ = [
    "CASCADE",
    "MIGRATION",
    "OF_THE_LOG",
    "ROWS",
    "STATEMENT",
    "VERB",
    "Batch",
    "Heard",
    "Part",
    "Plain",
    "Shape",
    "Told",
    "Written",
    "in_full",
    "portions",
]

CASCADE: Final = "cascade"
"""The cause of what a foreign key, or a delete rule of mongoengine, did to other objects."""

MIGRATION: Final = "migration"
"""The cause of what a lazy migration brought, by itself or along with what was asked for."""

VERB: Final = "$verb"
STATEMENT: Final = "$statement"
ROWS: Final = "$rows"
"""What a statement recorded as a whole did, its text without values, and how many it hit."""

OF_THE_LOG: Final = "lifecycle_of_the_log"
"""An execution option of statements that write the log itself, of which it has nothing to tell."""


# There are as many of these as objects are written, and nothing in one can lead back to it.
class Written(Struct, gc=False):
    """One object's changes as its database now holds them, not yet recorded.

    Values are as they go to the log: of types the codec knows. ``former_key`` is set when the
    change moved the object to another key. ``error`` is what cannot be told of it, and why.
    ``cause`` is ``None`` for what was asked for, else `CASCADE` or `MIGRATION`.
    """

    entity: str
    key: str
    changes: ChangeSet
    policy: Policy
    former_key: str | None = None
    label: str | None = None
    error: str | None = None
    cause: str | None = None


class Shape(Protocol):
    """What some changes of a recorded model have in common that are told by their values alone.

    An INSERT or DELETE has a value for each name of the form, an UPDATE a delta. None of them
    changes a key, and none has a label, an error or a cause.
    """

    @property
    def entity(self) -> str: ...

    @property
    def operation(self) -> Operation: ...

    @property
    def form(self) -> Form:
        """Under which names the values are."""
        ...

    @property
    def conversions(self) -> Mapping[int, Callable[[Column], Column]]:
        """How values become what goes to the log, by their place; the others go as they are.

        Such a function may raise anything.
        """
        ...

    @property
    def conceals(self) -> bool:
        """Whether something inside of values may have to be hidden, which takes a changeset."""
        ...

    def written(self, one: Plain) -> Written:
        """The same in full, where values are not so plain; raises what cannot be recorded."""
        ...


class Plain(Struct, gc=False):
    """One object's changes as its database now holds them, without a `ChangeSet`.

    Most of what is written is told by such: the log then makes their texts many at a time.
    """

    shape: Shape
    key: str
    values: Sequence[Any]


class Part(NamedTuple):
    """Those changes of a batch that have a shape.

    ``places`` are where their objects are in the batch. There is a column for each name of the
    form, and for an UPDATE a pair of columns, the old values and the new.
    """

    shape: Shape
    places: Sequence[int]
    columns: Sequence[Any]


class Batch(Struct, gc=False):
    """What one operation did to many objects of a model, in columns: what else is many `Plain`.

    Each object is in one of the parts.
    """

    entity: str
    operation: Operation
    keys: list[str]
    parts: list[Part]

    def plains(self) -> list[Plain]:
        """The same one by one, in order."""
        found: dict[int, Plain] = {}
        for shape, places, columns in self.parts:
            if self.operation is Operation.UPDATE:
                columns = [map(Change, *pair) for pair in columns]
            for place, values in zip(places, zip(*columns, strict=True), strict=True):
                found[place] = Plain(shape, self.keys[place], values)
        return [found[place] for place in range(len(self.keys))]

    def in_portions(self) -> Iterator[Batch]:
        """The same in smaller ones, where all objects have one shape."""
        if len(self.parts) > 1 or len(self.keys) <= CHUNK:
            yield self
            return
        ((shape, _, columns),) = self.parts
        for start in range(0, len(self.keys), CHUNK):
            some = slice(start, start + CHUNK)
            few = [
                (column[0][some], column[1][some])
                if self.operation is Operation.UPDATE
                else column[some]
                for column in columns
            ]
            keys = self.keys[some]
            part = Part(shape, range(len(keys)), few)
            yield Batch(self.entity, self.operation, keys, [part])


Told: TypeAlias = Written | Plain | Batch
"""What a mapper tells the recorder."""


def in_full(told: Iterable[Told]) -> Iterator[Written]:
    """The same without any that are plain; raises what cannot be recorded."""
    for one in told:
        if isinstance(one, Written):
            yield one
        else:
            for plain in one.plains() if isinstance(one, Batch) else (one,):
                yield plain.shape.written(plain)


def portions(told: Iterable[Told]) -> Iterator[list[Told]]:
    """Lists of some, so that never all of many are held: of part of a batch, or single ones."""
    for is_batch, some in groupby(told, lambda one: isinstance(one, Batch)):
        if not is_batch:
            yield from chunks(some)
            continue
        for batch in some:
            if isinstance(batch, Batch):
                for one in batch.in_portions():
                    yield [one]


class Heard(Struct, frozen=True):
    """What a database told by itself of a write, of whoever made it.

    ``written`` is ``None`` for what is not to be recorded. ``name`` is the same whenever the same
    write is told again, and ``transaction`` the same for all writes of one. ``token`` is where to
    go on after it.
    """

    written: Written | None
    at: datetime
    name: str
    token: str
    transaction: str | None = None
