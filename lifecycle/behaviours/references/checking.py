"""Looking for references to what is not there, and repairing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from lifecycle.behaviours.references.declaring import Reference, owners
from lifecycle.behaviours.references.many import ReferenceManyEmbedded
from lifecycle.behaviours.references.one import ReferenceOne, check_nullable
from lifecycle.behaviours.references.reading import reaching
from lifecycle.errors import ConfigurationError
from lifecycle.keys import key_text
from lifecycle.objects import Identity, Row, objects_of

__all__ = ["REPAIRS", "Dangling", "Repair", "check"]

_AT_ONCE: Final = 1_000

Repair: TypeAlias = Literal["nullify", "delete", "declared"]
"""What to do with a reference to what is not there, or with the object that has it."""

REPAIRS: Final = get_args(Repair)

Tell: TypeAlias = Callable[[int], None]

_AS_DECLARED: Final = {"nullify": "nullify", "cascade": "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dangling:
    """A reference to what is not there.

    ``name`` is the reference of the object ``entity`` ``key``, or the path within a document;
    ``target`` and ``identifier`` are what it leads to. ``repaired`` says what was done about it,
    ``None`` for nothing.
    """

    entity: str
    key: str
    name: str
    target: str
    identifier: str
    on_delete: str
    repaired: str | None = None

    def __str__(self) -> str:
        done = {"nullify": ": set to None", "delete": ": deleted"}.get(self.repaired or "", "")
        return (
            f"{self.entity} {self.key}: {self.name} refers to {self.target} {self.identifier}, "
            f"which is not there{done}"
        )


def check(
    references: Iterable[Reference[Any]],
    model: type | None,
    *,
    repair: Repair | None,
    progress: Callable[[int], None] | None,
) -> Iterator[Dangling]:
    """Every reference to what is not there, repaired where that is asked for."""
    if repair is not None and repair not in REPAIRS:
        raise ConfigurationError(f"repair={repair!r}: use one of {', '.join(REPAIRS)}, or None")
    tell = progress or (lambda done: None)
    unreached: list[ConfigurationError] = []
    for reference in references:
        try:
            yield from _of_reference(reference, model, repair, tell)
        except ConfigurationError as error:
            unreached.append(error)
    if unreached:
        raise ConfigurationError(
            "some references could not be checked: " + "; ".join(map(str, unreached))
        )


def _of_reference(
    reference: Reference[Any], model: type | None, repair: Repair | None, tell: Tell
) -> Iterator[Dangling]:
    if isinstance(reference, ReferenceOne):
        for cls in owners(reference):
            if model is None or issubclass(cls, model):
                yield from _of_class(reference, cls, repair, tell)
            elif issubclass(model, cls):
                yield from _of_class(reference, model, repair, tell)
    elif (
        isinstance(reference, ReferenceManyEmbedded)
        and any(owners(reference))
        and (model is None or issubclass(reference.target, model))
    ):
        yield from _embedded(reference, tell)


def _of_class(
    reference: ReferenceOne[Any],
    cls: type,
    repair: Repair | None,
    tell: Tell,
) -> Iterator[Dangling]:
    what: Any = _AS_DECLARED.get(reference.on_delete) if repair == "declared" else repair
    check_nullable(reference, cls, what or "nothing")
    for rows in _portions(cls, reference.fields):
        missing = _missing(reference, reference.target, cls, rows)
        repaired = _repaired(reference, cls, missing, what) if what and missing else set()
        for row in missing:
            done = what if row.identity in repaired else None
            yield _dangling(reference, cls, reference.target, row.identity, row.values, done)
        tell(len(rows))


def _embedded(reference: ReferenceManyEmbedded[Any], tell: Tell) -> Iterator[Dangling]:
    """Identifiers within documents, which the mapper of the documents knows nothing about."""
    cls = reference.target
    for rows in _portions(cls, (reference.path,)):
        singles = [Row(row.identity, (one,)) for row in rows for one in row.values]
        for owner in owners(reference):
            for row in dict.fromkeys(_missing(reference, owner, cls, singles)):
                yield _dangling(reference, cls, owner, row.identity, row.values, None)
        tell(len(rows))


def _portions(cls: type, fields: tuple[str, ...]) -> Iterator[list[Row]]:
    """The objects with a value there, some at a time, each portion in a transaction of its own."""
    after: Identity | None = None
    while True:
        with reaching(cls) as session:
            rows = objects_of(cls).rows(cls, fields, session, after, _AT_ONCE)
        if rows:
            yield rows
        if len(rows) < _AT_ONCE:
            return
        after = rows[-1].identity


def _missing(reference: Reference[Any], target: type, cls: type, rows: list[Row]) -> list[Row]:
    """Those rows that lead to no object of the target."""
    theirs = objects_of(target)
    keys = [(row, theirs.as_identity(target, row.values)) for row in rows if row.values]
    wanted = list(dict.fromkeys(key for _, key in keys if key is not None))
    there: set[Identity] = set()
    if wanted:
        with reaching(target) as session:
            there = theirs.existing(target, wanted, session)
    return [row for row, key in keys if key not in there]


def _repaired(reference: ReferenceOne[Any], cls: type, rows: list[Row], what: str) -> set[Identity]:
    """Repair these, unless they have changed meanwhile; returns which were."""
    objects = objects_of(cls)
    done: set[Identity] = set()
    with reaching(cls) as session:
        values = {row.identity: row.values for row in rows}
        for one in objects.load(cls, list(values), session):
            identity = objects.identity(one)
            if identity is None or objects.peek(one, reference.fields) != values[identity]:
                continue
            if what == "delete":
                objects.delete(one, session)
            else:
                setattr(one, reference.name, None)
                objects.save(one, session)
            done.add(identity)
        objects.commit(session)
    return done


def _dangling(
    reference: Reference[Any],
    cls: type,
    target: type,
    identity: Identity,
    values: Identity,
    done: str | None,
) -> Dangling:
    return Dangling(
        entity=objects_of(cls).entity(cls),
        key=key_text(identity),
        name=getattr(reference, "path", reference.name),
        target=objects_of(target).entity(target),
        identifier=key_text(values),
        on_delete=getattr(reference, "on_delete", "nothing"),
        repaired=done,
    )
