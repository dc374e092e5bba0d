"""What a statement did to many rows, told in columns where nobody has to look at each row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from typing import Any, Final, TypeAlias

from lifecycle.changes import Operation
from lifecycle.forms import ATOMS
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.rows import Images, Rows
from lifecycle.mappers.sqlalchemy.telling import Telling
from lifecycle.written import Batch, Part

__all__ = ["batch_of"]

_Column: TypeAlias = Sequence[Any]

_SHAPES: Final = 20
"""With more combinations of changed fields than this, columns are of no use."""


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
    shape = telling.shape(operation, tuple(columns))
    part = Part(shape, range(len(rows)), [*columns.values()])
    return Batch(model.entity, operation, _keys(model, rows, identity), [part])


def _updated(
    before: Rows,
    after: Rows,
    telling: Telling,
    names: Mapping[str, str],
    identity: Collection[str],
) -> Batch | None:
    model = telling.model
    changed: dict[str, tuple[_Column, _Column]] = {}
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
    flags = [_flags(*pair) for pair in changed.values()]
    if all(map(all, flags)) and flags:  # as a rule
        part = _part(telling, changed, (True,) * len(flags), range(len(keys)))
        return Batch(model.entity, Operation.UPDATE, keys, [part])
    masks = list(zip(*flags, strict=True))
    told = [place for place, mask in enumerate(masks) if True in mask]
    if len(told) < len(keys):
        masks, keys = [masks[place] for place in told], [keys[place] for place in told]
        changed = {name: _picked(pair, told) for name, pair in changed.items()}
    places: dict[tuple[bool, ...], list[int]] = {}
    for place, mask in enumerate(masks):
        places.setdefault(mask, []).append(place)
    if len(places) > _SHAPES:
        return None
    parts = [_part(telling, changed, mask, some) for mask, some in places.items()]
    return Batch(model.entity, Operation.UPDATE, keys, parts)


def _part(
    telling: Telling,
    changed: Mapping[str, tuple[_Column, _Column]],
    mask: tuple[bool, ...],
    places: Sequence[int],
) -> Part:
    """The changes of the rows at some places, whose changed columns are those of a mask."""
    names = tuple(compress(changed, mask))
    columns = [changed[name] for name in names]
    if len(places) < len(columns[0][0]):
        columns = [_picked(pair, places) for pair in columns]
    return Part(telling.shape(Operation.UPDATE, names), places, columns)


def _picked(pair: tuple[_Column, _Column], places: Sequence[int]) -> tuple[_Column, _Column]:
    olds, news = pair
    return [olds[place] for place in places], [news[place] for place in places]


def _flags(olds: _Column, news: _Column) -> list[bool]:
    """Of each row, whether its value has changed."""
    return [old is not new and old != new for old, new in zip(olds, news, strict=True)]


def _compares(model: Model, name: str | None) -> bool:
    """Whether all there is to comparing values of a field is ``==``."""
    return name is None or model.fields[name].compares


def _are_atoms(column: _Column) -> bool:
    return ATOMS.issuperset(map(type, column))


def _keys(model: Model, rows: Rows, identity: Collection[str]) -> list[str]:
    columns = rows.of(identity)
    if len(columns) == 1 and set(map(type, columns[0])) == {int}:
        return list(map(str, columns[0]))  # as `key_text` has it
    return list(map(model.key_text, zip(*columns, strict=True)))
