"""What a restore would do, as a page shows it: every object, every field, and what to leave out."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol
from uuid import UUID

from audit_ui.errors import Mistake
from audit_ui.places import read_record_id
from audit_ui.raw import plain_changes
from lifecycle.audit.records import Record, Revision
from lifecycle.audit.restore import Preview, Restored
from lifecycle.audit.store import AuditStore
from lifecycle.changes import ChangeSet, Operation
from lifecycle.errors import RestoreConflict
from lifecycle.restoring import Obstacle, Step

__all__ = ["Choice", "Item", "Plan", "Restorer", "Restores", "Reverted", "Wish", "reverted"]


class Restores(Protocol):
    """Puts objects back, as `Lifecycle.restore` does."""

    def preview(
        self,
        *,
        undo: Any = None,
        to: Any = None,
        undelete: Any = None,
        fields: Any = None,
        force: bool = False,
    ) -> Preview:
        """What it would do, and what is in the way."""
        ...

    def previews(
        self, *, undo: Any = None, to: Any = None, undelete: Any = None
    ) -> tuple[Preview, Preview]:
        """The same as it stands, and with ``force``."""
        ...

    def apply(self, preview: Preview) -> Restored:
        """Do what a preview shows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorer:
    """What the pages can put back, and on which terms.

    ``store`` shows the records as they are: what one reader may not see is restored all the same.
    """

    verbs: Restores
    store: AuditStore
    entities: Callable[[], Collection[str]]
    needs_reason: bool = False

    def knows(self, record: Record) -> bool:
        """Whether a record is of an object that may perhaps be put back."""
        return record.operation is not Operation.BULK and record.entity in self.entities()


# --- what is wanted -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One of the three verbs, and the records it is about."""

    verb: str
    records: tuple[Record, ...]

    def asked(self, records: Sequence[Record] | None = None) -> dict[str, Any]:
        """The wish as `Restores` takes it; of an undo perhaps only some records."""
        if self.verb == "undo":
            return {"undo": self.records if records is None else tuple(records)}
        record = self.records[0]
        return {self.verb: record if self.verb == "to" else (record.entity, record.key)}


# --- what it comes to -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """Some fields of one object, mostly one, to be put back or not.

    ``name`` is what a form calls it. ``conflicts`` say why it is left out unless asked for, or,
    where it is ``barred``, altogether; what the reader may not see is barred too. What is ``fixed``
    cannot be left out: an object comes back whole.
    """

    name: str
    fields: tuple[str, ...]
    changes: ChangeSet
    conflicts: tuple[Obstacle, ...] = ()
    barred: bool = False
    fixed: bool = False

    @property
    def taken(self) -> bool:
        """Whether it is put back unless somebody says otherwise."""
        return not self.conflicts and not self.barred


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a restore: what it needs, or what is in its way.

    ``step`` is ``None`` when nothing of it can be put back.
    """

    name: str
    entity: str
    key: str
    label: str | None
    step: Step | None
    choices: tuple[Choice, ...]
    conflicts: tuple[Obstacle, ...]
    allowed: bool
    records: tuple[Record, ...] = field(repr=False)

    @property
    def possible(self) -> bool:
        """Whether anything of it can be put back."""
        if self.step is None or self.conflicts or not self.allowed:
            return False
        return not self.choices or any(not choice.barred for choice in self.choices)


@dataclass(frozen=True)
class Plan:
    """A restore as a page shows it. False when there is nothing to do and nothing in the way.

    ``settled`` is how many objects are as they should be already.
    """

    wish: Wish
    items: tuple[Item, ...]
    notes: tuple[str, ...]
    settled: int

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def possible(self) -> bool:
        """Whether anything can be put back."""
        return any(item.possible for item in self.items)

    @cached_property
    def token(self) -> str:
        """The digest of what is shown: with another one it is no longer so."""
        shown = [
            (
                (item.entity, item.key, item.allowed),
                None if item.step is None else (item.step.new_key, str(item.step.operation)),
                _told(item.conflicts),
                [
                    (one.fields, one.barred, plain_changes(one.changes), _told(one.conflicts))
                    for one in item.choices
                ],
            )
            for item in self.items
        ]
        whole = json.dumps([self.wish.verb, shown, self.notes], sort_keys=True)
        return sha256(whole.encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        return {
            "verb": self.wish.verb,
            "possible": self.possible,
            "already_so": self.settled,
            "notes": self.notes,
            "objects": [
                {
                    "entity": item.entity,
                    "key": item.key,
                    "operation": None if item.step is None else str(item.step.operation),
                    "possible": item.possible,
                    "conflicts": _plain(item.conflicts),
                    "fields": [
                        {
                            "names": one.fields,
                            "changes": plain_changes(one.changes),
                            "possible": not one.barred,
                            "conflicts": _plain(one.conflicts),
                        }
                        for one in item.choices
                    ],
                }
                for item in self.items
            ],
        }

    def defaults(self, only: str = "") -> frozenset[str]:
        """The names of what is put back unless somebody says otherwise; perhaps of one field."""
        return frozenset(name for item in self.items for name in _names(item, only))

    def chosen(self, verbs: Restores, taken: Collection[str]) -> Preview:
        """A preview of what was chosen, by the names in the form.

        Raises ``RestoreConflict`` when things are not as they were shown.
        """
        items = [item for item in self.items if item.possible and item.name in taken]
        whole = {(item.entity, item.key) for item in items if not item.choices}
        picked = [
            (item, one)
            for item in items
            for one in item.choices
            if (one.name in taken or one.fixed) and not one.barred
        ]
        wanted = {(item.entity, item.key, name) for item, one in picked for name in one.fields}

        def choose(entity: str, key: str, name: str) -> bool:
            return (entity, key) in whole or (entity, key, name) in wanted

        preview = verbs.preview(
            **self.wish.asked([record for item in items for record in item.records]),
            fields=choose,
            force=any(one.conflicts for _, one in picked),
        )
        shown = {(item.entity, item.key): item.step for item in items}
        for step in preview.steps:
            if not _is_part(step, shown.get((step.entity, step.key))):
                raise RestoreConflict(f"{step.entity} {step.key} is not as it was shown")
        return preview


def _plain(conflicts: Iterable[Obstacle]) -> list[dict[str, Any]]:
    return [{"kind": one.kind, "field": one.field, "message": one.message} for one in conflicts]


def _told(conflicts: Iterable[Obstacle]) -> list[tuple[str, str]]:
    return [(one.kind, one.message) for one in conflicts]


def _names(item: Item, only: str) -> Iterator[str]:
    if item.possible:
        yield item.name
        yield from (
            one.name for one in item.choices if one.taken and (not only or only in one.fields)
        )


def _is_part(step: Step, shown: Step | None) -> bool:
    """Whether a step does nothing that was not shown."""
    if shown is None or (step.operation, step.new_key) != (shown.operation, shown.new_key):
        return False
    return all(
        path in shown.changes
        and plain_changes(ChangeSet({path: delta}))
        == plain_changes(ChangeSet({path: shown.changes[path]}))
        for path, delta in step.changes.items()
    )


# --- what has been put back -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reverted:
    """What a revision that a restore wrote says it reverts."""

    verb: str
    records: tuple[str, ...]
    revisions: tuple[UUID, ...]


def reverted(revision: Revision) -> Reverted | None:
    """What a revision reverts; ``None`` for any other, whatever its context holds."""
    told = revision.context.get("restores")
    if not isinstance(told, dict) or told.get("verb") not in ("undo", "to", "undelete"):
        return None
    try:
        records = told.get("records", [])
        for record in records:
            read_record_id(record)
        revisions = tuple(UUID(id) for id in told.get("revisions", []))
    except (AttributeError, TypeError, ValueError, Mistake):
        return None
    return Reverted(told["verb"], tuple(records), revisions)
