"""What a statement did to many rows, told in columns where nobody has to look at each row."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lifecycle.changes import Operation
from lifecycle.forms import ATOMS, Column
from lifecycle.mappers.sqlalchemy.alike import (
    KINDS,
    Alike,
    differing,
    parted,
    without_unchanged,
)
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.rows import Images, Rows
from lifecycle.mappers.sqlalchemy.telling import Telling
from lifecycle.written import Batch

__all__ = ["batch_of"]


def batch_of(
    images: Images,
    telling: Telling,
    names: Mapping[str, str],
    identity: Collection[str],
    is_whole: bool,
) -> Batch | None:
    """What was done to rows of one model; ``None`` where that takes a look at each.

    ``names`` are the fields by the keys of their columns, ``identity`` the keys of those that tell
    the rows apart, and ``is_whole`` says whether the rows are objects and not parts of such.
    """
    if telling.model.policy.label is not None:
        return None
    try:
        if images.before is not None and images.after is not None:
            return _updated(images.before, images.after, telling, names, identity)
        rows = images.before or images.after
        if rows is None or not is_whole:
            return None
        operation = Operation.INSERT if images.before is None else Operation.DELETE
        return _came_or_went(rows, operation, telling, names, identity)
    except Exception:  # foreign values may do anything, which is told row by row
        return None


def _came_or_went(
    rows: Rows,
    operation: Operation,
    telling: Telling,
    names: Mapping[str, str],
    identity: Collection[str],
) -> Batch | None:
    columns = {name: rows.columns[at] for at, name in names.items() if at in rows.columns}
    model = telling.model
    if not columns or not model.unaltered.issuperset(columns):
        return None
    if not all(map(_are_atoms, columns.values())):
        return None
    part = Alike(tuple(columns), range(len(rows)), [*columns.values()])
    return telling.batch(operation, _keys(model, rows, identity), [part])


def _updated(
    before: Rows,
    after: Rows,
    telling: Telling,
    names: Mapping[str, str],
    identity: Collection[str],
) -> Batch | None:
    model = telling.model
    changed: dict[str, tuple[Column, Column]] = {}
    for key, olds in before.columns.items():
        name, news = names.get(key), after.columns.get(key)
        if news is None or (name is None and key not in identity):
            continue
        if not (_compares(model, name) and _are_atoms(olds) and _are_atoms(news)):
            return None
        if olds != news:  # where an object is always equal to itself
            if name not in model.unaltered or key in identity:
                return None
            changed[name] = olds, news
    keys = _keys(model, after, identity)
    parts = parted(changed, [differing(*pair) for pair in changed.values()], range(len(keys)))
    if len(parts) > KINDS:
        return None
    return telling.batch(Operation.UPDATE, *without_unchanged(keys, parts))


def _compares(model: Model, name: str | None) -> bool:
    """Whether all there is to comparing values of a field is ``==``."""
    return name is None or model.fields[name].compares


def _are_atoms(column: Column) -> bool:
    return ATOMS.issuperset(map(type, column))


def _keys(model: Model, rows: Rows, identity: Collection[str]) -> list[str]:
    return model.key_texts(rows.of(identity))
