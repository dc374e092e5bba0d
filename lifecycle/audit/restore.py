"""Putting objects back: undoing changes, and restoring versions.

Each is first worked out as a `Preview` against what the database holds now; only a preview without
conflicts is applied, through the mappers, with their validation and hooks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from lifecycle.audit.history import History
from lifecycle.audit.later import Later
from lifecycle.audit.names import Names, instead_of
from lifecycle.audit.netting import netted
from lifecycle.audit.planning import Chosen, Goal, Planner
from lifecycle.audit.records import Record, Revision
from lifecycle.changes import Operation, same, split_path
from lifecycle.context import acting, current, grouped
from lifecycle.errors import HistoryError, RestoreConflict
from lifecycle.restoring import Obstacle, Said, Site, Sites, Step
from lifecycle.uuids import uuid7

__all__ = ["Fields", "Preview", "Restore", "Restored", "Undoable"]

Verb: TypeAlias = Literal["undo", "to", "undelete"]

Fields: TypeAlias = "Collection[str] | Chosen | None"
"""Which fields to put back: names, or a function of entity, key and name; ``None`` for all."""

_NAMED: Final = 20  # conflicts in one error, and records in one revision's context


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a restore would do: its steps, and what is in its way.

    ``steps`` are empty when everything is as it should be already; ``conflicts`` keep it from being
    applied. ``notes`` say what will be different from before all the same.
    """

    verb: Verb
    steps: tuple[Step, ...]
    conflicts: tuple[Obstacle, ...]
    notes: tuple[str, ...] = ()
    reverts: Mapping[str, Any] = field(default_factory=dict)
    described: str = ""

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.steps)

    def __str__(self) -> str:
        lines = [self.described]
        for step in self.steps:
            lines.append(f"  {step.operation} {step.entity} {step.key}")
            lines += [f"    {path}: {delta}" for path, delta in step.changes.items()]
        if not self.steps and not self.conflicts:
            known = "" if self.notes else ": everything is as it should be already"
            lines.append(f"  nothing to do{known}")
        lines += [f"  conflict: {one}" for one in self.conflicts]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did. Its revisions are joined by ``group``; `Restore.undo` takes it back.

    False when there was nothing to do; then nothing was written, and ``group`` is ``None``.
    """

    preview: Preview
    group: UUID | None

    def __bool__(self) -> bool:
        return self.group is not None


class _Wanted(NamedTuple):
    """A verb, the records it is about, and what is to become of their objects."""

    verb: Verb
    records: Sequence[Record]
    goals: Sequence[Goal]


Undoable: TypeAlias = "Record | Revision | Restored | UUID | str | Iterable[Record]"
"""What can be undone: a record, some of them, a revision or its id, or what a restore did."""


class Restore:
    """Puts objects of one Lifecycle back.

    Two verbs that differ: `undo` inverts a change and leaves alone what was changed besides it;
    `to` makes an object what it was right after a record. ``fields`` limits either to some
    fields; an object that would have to go stays then. With ``force`` an undo also puts back a
    field that was changed again since.

    ``session`` is an installed SQLAlchemy session to work in, whose transaction is the caller's to
    commit; without one the work is done, and committed, in a session of an installed
    ``sessionmaker``. Documents are written after the rows, right before that commit; on SQLite,
    which has one writer at a time, right after it.
    """

    def __init__(self, history: History, names: Names, sites: Sites) -> None:
        self._history = history
        self._names = names
        self._sites = sites

    # --- the verbs ---

    def undo(
        self,
        what: Undoable,
        *,
        fields: Fields = None,
        force: bool = False,
        session: Any = None,
    ) -> Restored:
        """Invert a record, or all that a revision changed.

        A revision is undone with those of its group, which its databases recorded as one. Raises
        ``RestoreConflict`` when something is in the way; then nothing was written.
        """
        preview = self.preview(undo=what, fields=fields, force=force, session=session)
        return self.apply(preview, session=session)

    def to(self, record: Record, *, fields: Fields = None, session: Any = None) -> Restored:
        """Make an object what it was right after a record, whatever it is now.

        Raises as `undo` does.
        """
        return self.apply(self.preview(to=record, fields=fields, session=session), session=session)

    def undelete(self, target: type | str, identity: Any, *, session: Any = None) -> Restored:
        """Bring a deleted object back with its key, its values and its many-to-many rows.

        What was deleted along with it comes back when its whole revision is undone. Raises as
        `undo` does, and ``HistoryError`` when the log has no deletion of it.
        """
        return self.apply(
            self.preview(undelete=(target, identity), session=session), session=session
        )

    def preview(
        self,
        *,
        undo: Undoable | None = None,
        to: Record | None = None,
        undelete: tuple[type | str, Any] | None = None,
        fields: Fields = None,
        force: bool = False,
        session: Any = None,
    ) -> Preview:
        """What one of the verbs would do now, without doing it.

        Raises ``HistoryError`` when there is nothing of that kind in the log, or a field that was
        named is in neither the records nor the models; and ``TypeError`` unless exactly one of the
        verbs is given.
        """
        wanted = self._wanted(undo, to, undelete, fields)
        return self._previews(wanted, _chosen(fields), (force,), session)[0]

    def previews(
        self,
        *,
        undo: Undoable | None = None,
        to: Record | None = None,
        undelete: tuple[type | str, Any] | None = None,
        session: Any = None,
    ) -> tuple[Preview, Preview]:
        """What one of the verbs would do now without ``force``, and what with it.

        As two of `preview`, of one reading of the log. Raises as that does.
        """
        wanted = self._wanted(undo, to, undelete, None)
        careful, forced = self._previews(wanted, _chosen(None), (False, True), session)
        return careful, forced

    def apply(self, preview: Preview, *, session: Any = None) -> Restored:
        """Do what a preview shows, or say that there is nothing to do.

        The revisions it makes name what they revert, in their context as ``restores``, and in their
        reason where the one who acts gave none. Raises ``RestoreConflict`` for a preview with
        conflicts, and when an object is no longer as the preview found it or the database refuses;
        then no row was changed.
        """
        if preview.conflicts:
            raise _refused(preview)
        if not preview.steps:
            return Restored(preview=preview, group=None)
        group = uuid7()
        with self._acting(preview, group), self._sites(session) as sites:
            for step in preview.steps:
                _check_unchanged(step, _site_of(sites, step))
            by_site = [
                (site, [step for step in preview.steps if site.has(step.entity)]) for site in sites
            ]
            _apply([(site, steps) for site, steps in by_site if steps])
        return Restored(preview=preview, group=group)

    # --- what is meant ---

    def _records(self, what: Undoable) -> list[Record]:
        if isinstance(what, Record):
            return [what]
        if isinstance(what, Restored):
            if what.group is None:
                return []
            return list(self._history.find(group=what.group, newest_first=False))
        if isinstance(what, UUID | str):
            what = self._history.revision(what)
        if isinstance(what, Revision):
            # All that was written together; a revision may be the only one of its group.
            of = {"revision": what} if what.group is None else {"group": what.group}
            return list(self._history.find(**of, newest_first=False))
        records = list(what)
        if wrong := [one for one in records if not isinstance(one, Record)]:
            raise TypeError(
                f"{wrong[0]!r} cannot be undone: give a record, a revision or its id, or records"
            )
        return sorted(records, key=lambda record: record.position)

    def _version(self, record: Record) -> Goal:
        if record.operation is Operation.BULK:
            raise HistoryError(
                f"record {record.id} is of a statement, not of an object, so there is no version "
                "to restore to: name a record of the object"
            )
        if record.operation is Operation.DELETE:
            return Goal(entity=record.entity, key=record.key, new_key=record.key, record=record)
        state = self._history.as_of(record.entity, record.key, record)
        assert state is not None  # it has just been inserted or updated
        return Goal(
            entity=record.entity,
            key=record.key,
            new_key=record.key,
            state=state.values,
            complete=state.complete,
            record=record,
        )

    def _deletion(self, target: type | str, identity: Any) -> Record:
        deletions = self._history.of(target, identity, operation=Operation.DELETE)
        record = next(deletions, None)
        if record is None:
            raise HistoryError(
                f"the log has no deletion of {self._names.entity(target)} "
                f"{self._names.key(target, identity)}, so it cannot be brought back from it"
            )
        return record

    def _refuse_unknown(
        self, fields: Fields, records: Sequence[Record], others: Iterable[str] = ()
    ) -> None:
        """Raise ``HistoryError`` for a field that neither these records nor their models have."""
        if fields is None or callable(fields) or not records:
            return
        known = {*others, *(name for record in records for name in record.changes.touched())}
        entities = sorted({record.entity for record in records})
        for name in sorted(split_path(one)[0] for one in fields):
            if name not in known:
                known.update(*map(self._names.fields, entities))
            if name not in known:
                raise HistoryError(
                    f"{' or '.join(entities[:_NAMED])} has no field {name!r}, in these records or "
                    f"in the model: {instead_of(name, known)}"
                )

    # --- working it out ---

    def _wanted(
        self,
        undo: Undoable | None,
        to: Record | None,
        undelete: tuple[type | str, Any] | None,
        fields: Fields,
    ) -> _Wanted:
        if sum(verb is not None for verb in (undo, to, undelete)) != 1:
            raise TypeError("a preview takes exactly one of undo=, to= and undelete=")
        if undo is not None:
            records = self._records(undo)
            self._refuse_unknown(fields, records)
            return _Wanted("undo", records, [Goal.undoing(net) for net in netted(records)][::-1])
        if to is not None:
            version = self._version(to)
            self._refuse_unknown(fields, [to], version.state or ())
            return _Wanted("to", [to], [version])
        assert undelete is not None
        record = self._deletion(*undelete)
        return _Wanted("undelete", [record], [Goal.undoing(net) for net in netted([record])])

    def _previews(
        self, wanted: _Wanted, chosen: Chosen, forces: Sequence[bool], session: Any
    ) -> list[Preview]:
        verb, records, goals = wanted
        later = Later(self._history, [(goal.entity, goal.key) for goal in goals])
        with self._sites(session) as sites:
            planners = [Planner(sites, later, chosen, force) for force in forces]
            steps = [planner.plan(goals) for planner in planners]
        return [
            Preview(
                verb=verb,
                steps=tuple(own),
                conflicts=tuple(planner.obstacles),
                notes=(*_together(verb, records), *planner.notes),
                reverts=_named(verb, records),
                described=_described(verb, records),
            )
            for planner, own in zip(planners, steps, strict=True)
        ]

    @contextmanager
    def _acting(self, preview: Preview, group: UUID) -> Iterator[None]:
        reason = None if current().reason else preview.described
        with grouped(group), acting(reason=reason, restores=dict(preview.reverts)):
            yield


def _apply(by_site: Sequence[tuple[Site, list[Step]]]) -> None:
    kept = False
    for number, (site, steps) in enumerate(by_site, 1):
        try:
            site.apply(steps)
        except Exception as error:
            if kept:
                error.add_note("The rows were put back, and committed, before this.")
            raise
        if number < len(by_site):
            kept = site.make_way() or kept


def _site_of(sites: Sequence[Site], step: Step) -> Site:
    return next(site for site in sites if site.has(step.entity))


def _check_unchanged(step: Step, site: Site) -> None:
    """Raise ``RestoreConflict`` when an object is no longer as the preview found it."""
    found = site.read(step.entity, step.key, lock=True)
    if found is None and step.new_key != step.key:
        found = site.read(step.entity, step.new_key, lock=True)
    before = step.before
    if (found is None) is (before is None):
        if found is None or before is None:
            return
        fields = sorted(step.changes.touched())
        changed = [name for name in fields if not same(found.get(name), before.get(name))]
        if not changed:
            return
        what = f"its {', '.join(changed)} changed"
    else:
        what = "it went" if found is None else "it came to be"
    raise RestoreConflict(
        f"{step.entity} {step.key} is no longer as the preview found it: {what} since; "
        "make a new preview"
    )


def _chosen(fields: Fields) -> Chosen:
    if fields is None:
        return lambda entity, key, name: True
    if callable(fields):
        return fields
    if isinstance(fields, str):
        raise TypeError(
            f"fields={fields!r} is one text, not some names: write fields={{{fields!r}}}"
        )
    names = {split_path(name)[0] for name in fields}
    return lambda entity, key, name: name in names


def _named(verb: Verb, records: Sequence[Record]) -> dict[str, Any]:
    """What a restore reverts, for the context of its own revisions."""
    revisions = list(dict.fromkeys(str(record.revision.id) for record in records))
    named: dict[str, Any] = {"verb": verb, "revisions": revisions[:_NAMED]}
    if len(records) <= _NAMED:
        named["records"] = [record.id for record in records]
    return named


def _described(verb: Verb, records: Sequence[Record]) -> str:
    if not records:
        return "undo nothing"
    first = records[0]
    one = f"{first.entity} {first.key}"
    if verb == "undelete":
        return f"undelete {one}"
    if verb == "to":
        return f"restore {one} to record {first.id}"
    if len(records) == 1:
        return f"undo record {first.id} of {one}"
    revisions = list(dict.fromkeys(str(record.revision.id) for record in records))
    more = "" if len(revisions) == 1 else f" and {len(revisions) - 1} more"
    return f"undo revision {revisions[0]}{more}"


def _together(verb: Verb, records: Sequence[Record]) -> list[str]:
    """A word on it when more than one revision is undone, as those of a group are."""
    revisions = list(dict.fromkeys(str(record.revision.id) for record in records))
    if verb != "undo" or len(revisions) == 1 or not records:
        return []
    named = ", ".join(revisions[:_NAMED]) + (", …" if len(revisions) > _NAMED else "")
    return [
        Said(
            "%(number)s revisions are undone as one, for they were written together or asked for "
            "together: %(revisions)s; undo single records to undo less",
            number=len(revisions),
            revisions=named,
        )
    ]


def _refused(preview: Preview) -> RestoreConflict:
    told = [str(one) for one in preview.conflicts[:_NAMED]]
    if len(preview.conflicts) > _NAMED:
        told.append(f"and {len(preview.conflicts) - _NAMED} more")
    return RestoreConflict(
        f"cannot {preview.described}: {'; '.join(told)}. Nothing was written; leave fields out "
        "with fields=, or put right what is in the way"
    )
