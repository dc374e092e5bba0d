"""What was done to objects, told to the recorder: by values where that is all there is to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import eq
from typing import Any, Final, TypeAlias

from sqlalchemy import Dialect

from lifecycle.changes import Change, Delta, Operation
from lifecycle.faults import Faults, attempted_label
from lifecycle.forms import Column, Form
from lifecycle.mappers.sqlalchemy.alike import Alike
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.outcome import Done, changes_of
from lifecycle.markers import MASKED
from lifecycle.written import Batch, Part, Plain, Shape, Written

__all__ = ["Telling"]

_Shapes: TypeAlias = "dict[tuple[str, ...], _Shape]"
"""By the names of the fields."""


class Telling:
    """Tells of the objects of one model that were written through one connection."""

    def __init__(self, model: Model, dialect: Dialect, faults: Faults) -> None:
        self.model: Final = model
        self._dialect: Final = dialect
        self._faults: Final = faults
        is_sqlite = dialect.name == "sqlite"
        self._numbers: Final = model.numbers if is_sqlite else frozenset[str]()
        """The fields in which the database has NULL for what is not a number."""
        self._inserts: Final = _Shape(self, Operation.INSERT, model.form)
        self._deletes: Final = _Shape(self, Operation.DELETE, model.form)
        self._of_inserts: Final[_Shapes] = {}
        self._of_updates: Final[_Shapes] = {}
        self._of_deletes: Final[_Shapes] = {}

    def told(self, one: Done) -> Written | Plain:
        """What was done to one of them; raises what cannot be recorded."""
        whole, deltas = one.whole, one.deltas
        told_alone = whole is None or not deltas
        if not self.model.has_values_only or one.former_key is not None or not told_alone:
            return self.in_full(one)
        if whole is None:
            return self.updated(one.key, deltas)
        is_insert = one.operation is Operation.INSERT
        return Plain(self._inserts if is_insert else self._deletes, one.key, whole)

    def batch(self, operation: Operation, keys: list[str], parts: Iterable[Alike]) -> Batch:
        """What was done to many of them, whose values are all there is to tell."""
        told = [Part(self.shape(operation, one.names), one.places, one.columns) for one in parts]
        return Batch(self.model.entity, operation, keys, told)

    def updated(self, key: str, deltas: dict[str, Delta]) -> Plain:
        """An UPDATE of an object, told by its values, that keeps its key."""
        names = tuple(deltas)
        shape = self._of_updates.get(names) or self._shape(
            self._of_updates, Operation.UPDATE, names
        )
        return Plain(shape, key, tuple(deltas.values()))

    def came(self, key: str, state: dict[str, Any]) -> Plain:
        """The INSERT of an object told by its values, by the fields that are known of it."""
        shape = self._shape(self._of_inserts, Operation.INSERT, state)
        return Plain(shape, key, tuple(state.values()))

    def went(self, key: str, state: dict[str, Any]) -> Plain:
        """The DELETE of an object told by its values, by the fields that are known of it."""
        shape = self._shape(self._of_deletes, Operation.DELETE, state)
        return Plain(shape, key, tuple(state.values()))

    def conversions(self, names: Sequence[str]) -> dict[int, Callable[[Column], Column]]:
        """How values with some of these names go to the log, by the place of the name."""
        model = self.model
        found: dict[int, Callable[[Column], Column]] = {}
        for place, name in enumerate(names):
            if name in model.policy.mask:
                found[place] = _masked
            elif name in model.told_by_value:
                found[place] = partial(self._logged_column, name)
            elif name in self._numbers:
                found[place] = _without_nan
        return found

    def _logged_column(self, name: str, values: Column) -> Column:
        logged = self.model.logged_column(name, values, self._dialect)
        return _without_nan(logged) if name in self._numbers else logged

    def shape(self, operation: Operation, names: tuple[str, ...]) -> Shape:
        """What objects have in common of which an operation wrote these fields."""
        if operation is Operation.UPDATE:
            return self._shape(self._of_updates, operation, names)
        is_insert = operation is Operation.INSERT
        return self._shape(self._of_inserts if is_insert else self._of_deletes, operation, names)

    def _shape(self, known: _Shapes, operation: Operation, by_name: Iterable[str]) -> _Shape:
        names = tuple(by_name)
        shape = known.get(names)
        if shape is None:
            shape = known[names] = _Shape(self, operation, self.model.form_of(names))
        return shape

    def in_full(self, one: Done) -> Written:
        """The same with a changeset, a label, and the error of what can only be told in part."""
        model = self.model
        instance = None if model.policy.label is None else one.state.obj()
        whole = None if one.whole is None else model.named(one.whole)
        return self.written(one.operation, one.key, whole, one.deltas, one.former_key, instance)

    def written(
        self,
        operation: Operation,
        key: str,
        whole: dict[str, Any] | None,
        deltas: dict[str, Delta],
        former_key: str | None = None,
        instance: Any = None,
    ) -> Written:
        """Values as they go to the log; what cannot be told goes to `Faults.settle`."""
        model, dialect = self.model, self._dialect
        try:
            logged = None if whole is None else model.logged_state(whole, dialect)
            changed = model.logged_deltas(deltas, dialect) if deltas else deltas
            label = model.policy.label_of(instance)
            error = None
        except Exception:
            found: dict[str, str] = {}
            logged, changed = self._as_far_as_known(whole, deltas, found)
            label = attempted_label(found, model.policy, instance)
            error = self._faults.settle(model.entity, key, found)
        if self._numbers:
            logged, changed = self._as_stored(logged, changed)
        changes = changes_of(logged, changed, operation)
        return Written(model.entity, key, changes, model.policy, former_key, label, error)

    def _as_stored(
        self, whole: dict[str, Any] | None, deltas: dict[str, Delta]
    ) -> tuple[dict[str, Any] | None, dict[str, Delta]]:
        """The same without any NaN among the numbers."""
        state, changed = whole and dict(whole), dict(deltas)
        for name in self._numbers:
            if state and name in state:
                (state[name],) = _without_nan([state[name]])
            delta = deltas.get(name)
            if isinstance(delta, Change):
                changed[name] = Change(*_without_nan([delta.old, delta.new]))
        return state, changed

    def _as_far_as_known(
        self, whole: dict[str, Any] | None, deltas: dict[str, Delta], found: dict[str, str]
    ) -> tuple[dict[str, Any] | None, dict[str, Delta]]:
        """Values as far as they can be told; what is wrong with the others is noted."""

        def logged(name: str, value: Any) -> Any:
            return self.model.logged_or_unknown(found, name, value, self._dialect)

        known = None
        if whole is not None:
            known = {name: logged(name, value) for name, value in whole.items()}
        return known, {
            name: Change(logged(name, delta.old), logged(name, delta.new))
            if isinstance(delta, Change)
            else delta
            for name, delta in deltas.items()
        }


def _masked(column: Column) -> Column:
    """What the log has in place of values that it is to hide."""
    return [MASKED] * len(column)


def _without_nan(numbers: Column) -> Column:
    """What SQLite has of numbers: NULL in place of NaN, the one that is not equal to itself."""
    if all(map(eq, numbers, numbers)):
        return numbers
    return [one if one == one else None for one in numbers]


class _Shape:
    """A `lifecycle.written.Shape` of objects of one model."""

    __slots__ = ("_telling", "conceals", "conversions", "entity", "form", "operation")

    def __init__(self, telling: Telling, operation: Operation, form: Form) -> None:
        self._telling = telling
        self.entity = telling.model.entity
        self.operation = operation
        self.form = form
        self.conceals = telling.model.policy.conceals
        self.conversions = telling.conversions(form.names)

    def written(self, one: Plain) -> Written:
        values = dict(zip(self.form.names, one.values, strict=True))
        if self.operation is Operation.UPDATE:
            return self._telling.written(self.operation, one.key, None, values)
        return self._telling.written(self.operation, one.key, values, {})
