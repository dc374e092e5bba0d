"""What a mapper adapter offers to `Lifecycle`, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from lifecycle.context import BulkChoice, Suppression
from lifecycle.coverage import Gaps
from lifecycle.dispatch import Dispatcher
from lifecycle.errors import ConfigurationError
from lifecycle.faults import Faults
from lifecycle.keys import LONGEST
from lifecycle.linting import Lint
from lifecycle.policy import NO_MASKING, BulkMode, Masking, Policy
from lifecycle.relations import Pointer, Relation
from lifecycle.restoring import Site
from lifecycle.stored import Stock
from lifecycle.written import Told, Written

__all__ = [
    "AfterCommit",
    "Entities",
    "Live",
    "LiveRows",
    "Mapper",
    "Recorder",
    "Services",
    "Writer",
]


class Writer(Protocol):
    """Takes down what has been written, for one database transaction or one document write."""

    @property
    def stored(self) -> bool:
        """Whether the revision's row is in the store."""
        ...

    @property
    def group(self) -> UUID | None:
        """The group of the revision, ``None`` before its first record unless it was given."""
        ...

    def write(self, written: Sequence[Told], *, connection: Any = None) -> None:
        """Record these, through ``connection`` when the record is to commit with the change."""
        ...

    def together(self, connection: Any) -> AbstractContextManager[None]:
        """A block whose records may be on their way until it ends, after the first `write`."""
        ...

    @property
    def intends(self) -> bool:
        """Whether it stores what is about to be written; else `intend` does nothing."""
        ...

    def intend(self, written: Sequence[Written], traces: Sequence[str]) -> None:
        """Store that these are about to be written elsewhere, with what tells whether they were."""
        ...

    def withdraw(self) -> None:
        """What was intended has not been written."""
        ...

    def over(self, connection: Any) -> None:
        """The transaction of a connection that was written through is over."""
        ...

    def undone(self) -> None:
        """The revision's row has been rolled back: the next write starts it anew."""
        ...


class Recorder(Protocol):
    """Gives out a `Writer` for each database transaction, or each document write."""

    def wants(self, policy: Policy) -> bool:
        """Whether models of this policy are recorded at all."""
        ...

    def joins(self, connection: Any) -> bool:
        """Whether records can be written in the transaction of a session of documents."""
        ...

    @property
    def durability(self) -> str:
        """Whether writes to another database are announced to the log (``"intent"``)."""
        ...

    def open(self, group: UUID | None = None) -> Writer:
        """A writer of one revision, joined to the others of its group."""
        ...


class Entities:
    """The registered names of one Lifecycle's models, each belonging to one class."""

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}

    def register(self, entity: str, cls: type) -> str:
        """Take a name for a class.

        Raises ``ConfigurationError`` when another class has it, or the log has no room for it.

        A class that was defined again under its own name and module, as in a notebook, replaces
        the one before.
        """
        if len(entity) > LONGEST:
            raise ConfigurationError(
                f"the name {entity[:40]}… in the log has {len(entity)} characters, and the log "
                f'keeps {LONGEST}: give the class a shorter one with @audited(entity="...")'
            )
        holder = self._classes.setdefault(entity, cls)
        if holder is not cls:
            if (holder.__module__, holder.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ConfigurationError(
                    f"{cls.__module__}.{cls.__qualname__} and "
                    f"{holder.__module__}.{holder.__qualname__} would both be {entity!r} in the "
                    'log: give one of them a name of its own with @audited(entity="...")'
                )
            self._classes[entity] = cls
        return entity


AfterCommit: TypeAlias = Literal["log", "raise"]
"""What becomes of errors in hooks that run after a commit, when all have run."""


@dataclass(frozen=True, slots=True)
class Services:
    """What one Lifecycle lends to its mapper adapters."""

    dispatcher: Dispatcher
    recorder: Recorder
    entities: Entities
    suppression: Suppression
    faults: Faults = field(default_factory=Faults)
    gaps: Gaps = field(default_factory=Gaps)
    bulk: BulkMode = "rows"
    bulk_here: BulkChoice = field(default_factory=BulkChoice)
    after_commit: AfterCommit = "log"
    strict: bool = False
    masking: Masking = NO_MASKING


class LiveRows(NamedTuple):
    """Some rows or documents as inserts that would make them, and how to read them again."""

    written: list[Written]
    again: Callable[[], list[Written]]


class Live(NamedTuple):
    """A table or collection with recorded objects, as it is in its database now.

    ``is_whole`` says that each row is an object, and not a part or a member of one;
    ``has_all`` that it has every field of it. Without ``rows`` it is not in the database at hand.
    ``collections`` are those whose members its rows are: the entity and the name of each.
    """

    entity: str
    place: str
    is_whole: bool
    has_all: bool
    rows: Iterator[LiveRows] | None
    collections: tuple[tuple[str, str], ...] = ()


class Mapper(Protocol):
    """An adapter to one object mapper, owned by one Lifecycle."""

    @property
    def records_beside(self) -> bool:
        """Whether records commit with the data, in the database the data goes to."""
        ...

    def engine_of(self, target: Any) -> Any:
        """The SQL engine an installed target writes to, ``None`` when there is none of its own."""
        ...

    def accepts(self, target: object) -> bool:
        """Whether `install` knows what to do with the target."""
        ...

    def install(self, target: Any) -> None:
        """Start to see the target's writes; raises ``InstallError``, leaving nothing half done."""
        ...

    def uninstall(self, target: Any) -> None:
        """Stop; raises ``InstallError`` when the target is not installed."""
        ...

    def check(self, cls: type) -> None:
        """Check what is declared for a class, and for those that inherit from it, if mapped.

        Raises ``ConfigurationError`` when it cannot work. Later subscriptions are then checked
        against the fields these classes have.
        """
        ...

    def subscribed(self) -> None:
        """There are new hooks, which may want to be told of classes, or of loads."""
        ...

    def maps(self, cls: type) -> bool:
        """Whether the class, or a class that inherits from it, is mapped."""
        ...

    def classes(self) -> Iterator[type]:
        """Every class whose objects are seen."""
        ...

    def policy(self, cls: type) -> Policy:
        """How a class is recorded, with all that is masked of it."""
        ...

    def stock(self, cls: type) -> Stock:
        """All objects of a class, to be loaded some at a time.

        Raises ``InstallError`` when they are asked for and there is no way to load them.
        """
        ...

    def policies(self) -> Iterator[tuple[str, Policy]]:
        """Every model whose writes are seen, with its policy, by its name in the log."""
        ...

    def entity(self, cls: type) -> str:
        """The registered name of a mapped class."""
        ...

    def entities(self) -> Iterable[str]:
        """The registered names of every mapped class there is, whether it has been used or not."""
        ...

    def fields(self, entity: str) -> Iterable[str]:
        """The fields of every mapped class of a name; none where there is no such class."""
        ...

    def relation(self, entity: str, name: str) -> Relation | None:
        """A relationship of a model; ``None`` when no mapped class has the model's name.

        Raises ``HistoryError`` when the model has no such relationship, or the log cannot tell it.
        """
        ...

    def pointers(self, entity: str | None, source: str | None) -> Iterator[Pointer]:
        """How objects point to others, each way once: to those of an entity, those of a source."""
        ...

    def choices(self, entity: str) -> dict[str, dict[Any, str]]:
        """What people call the values of a model's fields that have choices, as its class has it.

        By field, and by value as the log holds it.
        """
        ...

    def lint(self, engine: Any) -> Iterator[Lint]:
        """What about the models could leave the log wanting, or saying too much.

        ``engine`` is the SQL database to look at, if there is one.
        """
        ...

    def live(self, engine: Any) -> Iterator[Live]:
        """Every table or collection with recorded objects, read some rows at a time.

        ``engine`` is the SQL database to read.
        """
        ...

    def site(self, session: Any) -> AbstractContextManager[Site]:
        """The mapper's objects, to be put back within the block, in a session where one is given.

        What was done is committed at its end, unless a session was given.
        """
        ...

    def sees(self, instance: Any) -> bool:
        """Whether the writes of this very object are seen."""
        ...

    def reaching(self, cls: type) -> AbstractContextManager[Any]:
        """A new session that reaches the objects of a class, closed with the block.

        ``None`` where there are no sessions. Raises ``ConfigurationError`` when no installed
        session set-up reaches them.
        """
        ...

    def key(self, cls: type, identity: Any) -> str:
        """The text of an identity given as the mapper itself takes it."""
        ...

    def key_of(self, instance: Any) -> str:
        """The text of an object's identity; raises ``HistoryError`` when it has none yet."""
        ...
