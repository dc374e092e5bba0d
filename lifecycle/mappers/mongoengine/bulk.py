"""Bulk writes: what passes ``save`` and ``delete`` by, recorded as each Lifecycle wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from inspect import unwrap
from typing import Any, Final

from lifecycle.changes import Change, ChangeSet, Delta, Operation
from lifecycle.errors import (
    ForbiddenWrite,
    RecordingError,
    StoreError,
    UnrecordedWriteWarning,
    warn,
)
from lifecycle.mappers.base import Services
from lifecycle.mappers.mongoengine.announcing import Announced, Portion, traces
from lifecycle.mappers.mongoengine.asking import Pair, Son
from lifecycle.mappers.mongoengine.documents import DocumentModel, DocumentModels
from lifecycle.mappers.mongoengine.fields import logged
from lifecycle.mappers.mongoengine.sending import changed
from lifecycle.mappers.mongoengine.updates import assigned, text_of
from lifecycle.mappers.mongoengine.values import as_stored
from lifecycle.markers import ABSENT, UNKNOWN
from lifecycle.policy import BulkMode, strictest
from lifecycle.written import ROWS, STATEMENT, VERB, Written

__all__ = ["Part", "Parts", "changes_of", "label_of", "part_of", "state_of"]


class Part:
    """One Lifecycle's part in a bulk write.

    ``call`` is what the application called. ``cause`` is why, when it was not asked for.
    """

    def __init__(
        self,
        models: Sequence[DocumentModel],
        services: Services,
        mode: BulkMode,
        call: str,
        cause: str | None,
    ) -> None:
        self._model = models[0]
        self._by_class: Final = {model.cls._class_name: model for model in models}
        self._services = services
        self._announced = Announced(services.recorder)
        self._call = call
        self._cause = cause
        self.mode: Final = mode
        self.needs_all: Final = any(
            model.policy.label is not None or model.mark is not None for model in models
        )

    def check(self) -> None:
        """Raise ``ForbiddenWrite`` when it must not be made; count it when it is left out."""
        if self.mode == "forbid":
            raise ForbiddenWrite(
                f"{self._call} is forbidden, for it passes save() and delete() by: save or delete "
                'the documents one by one instead, or allow this one inside lifecycle.bulk("rows")'
            )
        if self.mode == "off":
            self._services.gaps.note([self._model.entity], self._call, "bulk off")

    def miss(self, why: str) -> None:
        """Count a write that is not recorded, or not all of it, and warn of its kind once."""
        entity = self._model.entity
        if self._services.gaps.note([entity], self._call, why):
            warn(
                f"{self._call} may have changed {entity}, and not all of it is recorded: {why}. "
                "Save or delete the documents one by one instead, or take the class out with "
                "@not_audited. lifecycle.coverage() counts such writes; each kind is told once",
                UnrecordedWriteWarning,
            )

    @property
    def intends(self) -> bool:
        """Whether the log is to be told before something is written."""
        return self._announced.wanted

    def intend(self, pairs: Sequence[Pair], collection: Any) -> None:
        """Tell the log of a portion that is about to be written.

        Raises ``RecordingError``, or ``StoreError``, and then nothing may be written.
        """
        wanted = (
            (pair, model, one)
            for pair in pairs
            if (model := self._model_of(pair)) is not None and (one := self._written(pair, model))
        )
        written, told = traces(wanted, collection)
        try:
            self._announced.add(pairs, written, told)
        except Exception as error:
            self.withdraw()
            kind = type(error) if isinstance(error, StoreError) else RecordingError
            raise kind(
                f"{self._named(written)} has not been written by {self._call}, for it could not be "
                f"recorded: {error}"
            ) from error

    def withdraw(self) -> None:
        """Of what the log was told of, and not taken since, nothing has been written."""
        self._announced.withdraw()

    def take(self, pairs: Sequence[Pair]) -> None:
        """Record what was written."""
        portion = self._announced.next()
        written = portion.written  # as it was announced, so it need not be worked out again
        if pairs is not portion.pairs:
            written = [
                one
                for pair in pairs
                if (model := self._model_of(pair)) is not None
                and (one := self._written(pair, model))
            ]
        self._write(portion, written)

    def take_whole(self, collection: Any, name: str, given: Son, result: Any) -> None:
        """Record a write by one record of all of it."""
        model, update = self._model, given.get("update")
        hit = _number(result, given)
        if hit == 0:
            return
        changes: dict[str, Delta] = {
            VERB: Change(ABSENT, _verb(name, given)),
            STATEMENT: Change(ABSENT, text_of(name, collection, given)),
            ROWS: Change(ABSENT, UNKNOWN if hit is None else hit),
        }
        for db_name, value in as_stored(assigned(update), collection).items():
            field, path = model.told(db_name)
            changes[path] = Change(UNKNOWN, logged(field, value))
        told = ChangeSet(changes, Operation.BULK)
        whole = Written(model.entity, "", told, model.policy, cause=self._cause)
        self._write(self._announced.next(), [whole])

    def _write(self, portion: Portion, written: Sequence[Written]) -> None:
        if not written:
            portion.writer.withdraw()
            return
        try:
            portion.writer.write(written)
        except Exception as error:
            kind = StoreError if isinstance(error, StoreError) else RecordingError
            left = (
                "`lifecycle reconcile` will record it"
                if portion.pairs is not None
                else "The log lacks this change: put the cause right, then note the change by hand "
                "or undo it"
            )
            raise kind(
                f"{self._named(written)} has been written by {self._call}, but not recorded: "
                f"{error}. {left}"
            ) from error

    def _named(self, written: Sequence[Written]) -> str:
        keys = ", ".join(one.key for one in written[:3])
        more = f" and {len(written) - 3} more" if len(written) > 3 else ""
        return f"{self._model.entity} {keys}{more}"

    def _model_of(self, pair: Pair) -> DocumentModel | None:
        son = pair.before if pair.after is None else pair.after
        if son is None:
            return None
        model = self._by_class.get(son["_cls"]) if "_cls" in son else self._model
        wants = self._services.recorder.wants
        return model if model is not None and wants(model.policy) else None

    def _written(self, pair: Pair, model: DocumentModel) -> Written | None:
        before, after = pair
        son = before if after is None else after
        changes = changes_of(model, pair)
        if son is None or changes is None:
            return None
        return Written(
            model.entity,
            model.stored_key(son["_id"]),
            changes,
            model.policy,
            label=label_of(model, son),
            cause=self._cause,
        )


def part_of(
    models: DocumentModels,
    services: Services,
    classes: Sequence[type],
    call: str,
    cause: str | None,
    bulk: bool,
) -> Part | None:
    """The part of a Lifecycle in a write that may change documents of these classes, if any.

    One that is not ``bulk`` is of one document at hand, and recorded like a save of it. To forbid
    bulk writes does not forbid what delete rules do.
    """
    if services.suppression.audit:
        return None
    wanted = [model for model in map(models.get, classes) if services.recorder.wants(model.policy)]
    if not wanted:
        return None
    mode: BulkMode = "rows"
    if bulk:
        mode = services.bulk_here.mode or strictest(
            model.policy.bulk or services.bulk for model in wanted
        )
    if mode == "forbid" and cause is not None:
        mode = "rows"
    return Part(wanted, services, mode, call, cause)


class Parts:
    """Several takers as one; each gets its share, also when another one fails."""

    def __init__(self, takers: Sequence[Any]) -> None:
        self._takers = takers
        self.needs_all: Final = any(one.needs_all for one in takers)

    @property
    def intends(self) -> bool:
        """Whether any of them is to be told before something is written."""
        return any(one.intends for one in self._takers)

    def intend(self, pairs: Sequence[Pair], collection: Any) -> None:
        """Tell each that wants to be told; none when one of them raises."""
        try:
            for one in self._takers:
                if one.intends:
                    one.intend(pairs, collection)
        except Exception:
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """Tell each."""
        self._each(lambda one: one.withdraw())

    def take(self, pairs: Sequence[Pair]) -> None:
        """Give it to each."""
        self._each(lambda one: one.take(pairs))

    def miss(self, why: str) -> None:
        """Tell each."""
        self._each(lambda one: one.miss(why))

    def _each(self, tell: Callable[[Any], None]) -> None:
        with ExitStack() as stack:
            for one in reversed(self._takers):
                stack.callback(tell, one)


def changes_of(model: DocumentModel, pair: Pair) -> ChangeSet | None:
    """What was done to a document; ``None`` when nothing was.

    One that is marked as removed is not there.
    """
    before, after = (one if one is not None and model.is_there(one) else None for one in pair)
    if before is None:
        return (
            None if after is None else ChangeSet.of_state(state_of(model, after), Operation.INSERT)
        )
    if after is None:
        return ChangeSet.of_state(state_of(model, before), Operation.DELETE)
    found: dict[str, Delta] = {}
    for db_name, change in changed(before, after).items():
        field, path = model.told(db_name)
        old, new = change.old, change.new
        if isinstance(old, dict | list) or isinstance(new, dict | list):
            change = Change(logged(field, old), logged(field, new))
        found[path] = change
    return ChangeSet(found, Operation.UPDATE) if found else None


def state_of(model: DocumentModel, son: Son) -> Mapping[str, Any]:
    """A document as its insert would be recorded."""

    def values() -> Iterator[tuple[str, Any]]:
        for db_name, value in son.items():
            field, path = model.told(db_name)
            yield path, logged(field, value)

    return dict(values())


def label_of(model: DocumentModel, son: Son) -> str | None:
    """The label of a document as it is in the database; none if it needs more."""
    if model.policy.label is None:
        return None
    try:
        make = unwrap(model.cls._from_son.__func__)  # past the hooks of a load, which this is not
        return model.policy.label_of(make(model.cls, son))
    except Exception:
        return None  # of a save it would be an error, but here is no document to correct


def _number(result: Any, given: Son) -> int | None:
    """How many documents a write has hit, as far as its answer tells."""
    counts = ("matched_count", "deleted_count", "inserted_count")
    if not getattr(result, "acknowledged", True):
        return None
    if hasattr(result, "inserted_ids"):
        return len(result.inserted_ids)
    if hasattr(result, "inserted_id"):
        return 1
    found = [getattr(result, name) for name in counts if hasattr(result, name)]
    if found:
        upserted: int = getattr(result, "upserted_count", int(getattr(result, "did_upsert", False)))
        return int(sum(found)) + upserted
    if result is None:
        return None if given.get("upsert") else 0
    return 1


def _verb(name: str, given: Son) -> str:
    if given.get("upsert"):
        return "upsert"
    if name == "bulk_write":
        return "bulk"
    return next((verb for verb in ("insert", "delete") if verb in name), "update")
