"""The record format: a changeset as text, and back, exactly.

Format 1 is one JSON object of paths. Values are as `lifecycle.codec` encodes them::

    insert   {"name": "Ann", "born": {"$day": "1990-02-28"}}            the new values
    delete   {"name": "Ann", "born": {"$day": "1990-02-28"}}            the old values
    update   {"name": ["Ann", "Eve"],                                   old and new
              "tags": {"added": ["new"], "removed": []},
              "lines": {"steps": [{"index": 2, "removed": [], "inserted": ["x"]},
                                  {"within": {"0.qty": [1, 2]}}]}}

In an insert or delete, a path with more to it than its one value has it in the form of an update,
tagged ``$delta``. Where a path cannot be a JSON key, having a lone surrogate, the object becomes
a list of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from lifecycle import codec
from lifecycle.changes import Change, ChangeSet, Delta, ListEdit, Operation, SetEdit, Splice, Within
from lifecycle.errors import EncodingError, HistoryError
from lifecycle.forms import ATOMS, Column, Members
from lifecycle.markers import ABSENT
from lifecycle.written import Batch, Shape

__all__ = ["advanced", "dump", "dump_batch", "dump_plain", "kept", "load"]

_DELTA: Final = "$delta"


def dump(changes: ChangeSet) -> str:
    """The text of a changeset, in the newest format. Raises ``EncodingError``, as the codec does.

    It runs for every recorded object of every flush.
    """
    if changes.text is not None:
        return changes.text
    body = _dump(changes)
    try:
        return codec.to_text(body)
    except EncodingError:  # the values are encoded already, so it is for a path
        return codec.to_text(_dump_paths(body))


def kept(changes: ChangeSet) -> ChangeSet:
    """A changeset that does not change any more, with its text, which will be wanted again.

    Raises as `dump`.
    """
    changes.text = dump(changes)
    return changes


def _dump(changes: ChangeSet) -> dict[str, Any]:
    if changes.state is not None:
        return codec.encode_each(changes.state)
    encode, operation = codec.encode, changes.operation
    if operation is Operation.INSERT:
        return {
            path: encode(delta.new)
            if type(delta) is Change and delta.old is ABSENT
            else {_DELTA: _dump_delta(delta)}
            for path, delta in changes.items()
        }
    if operation is Operation.DELETE:
        return {
            path: encode(delta.old)
            if type(delta) is Change and delta.new is ABSENT
            else {_DELTA: _dump_delta(delta)}
            for path, delta in changes.items()
        }
    pair = codec.encode_pair
    return {
        path: pair(delta.old, delta.new) if type(delta) is Change else _dump_delta(delta)
        for path, delta in changes.items()
    }


def dump_plain(shape: Shape, values: Iterable[Sequence[Any]]) -> list[str] | None:
    """The texts of many changes of one shape, the same as `dump` would give, in the newest format.

    ``None`` when it takes their changesets to make them, or to say what is wrong with them.
    """
    columns: list[Any] = list(zip(*values, strict=True))
    if shape.operation is Operation.UPDATE:
        if not all(type(one) is Change for some in columns for one in some):
            return None  # it is an edit of a collection
        columns = [([one.old for one in some], [one.new for one in some]) for some in columns]
    return _texts(shape, columns)


def dump_batch(batch: Batch) -> list[str] | None:
    """The same of a batch."""
    texts = [""] * len(batch.keys)
    for shape, places, columns in batch.parts:
        found = _texts(shape, columns)
        if found is None or len(places) == len(texts):
            return found
        for place, text in zip(places, found, strict=True):
            texts[place] = text
    return texts


def _texts(shape: Shape, columns: Sequence[Any]) -> list[str] | None:
    """The texts of changes of one shape, whose values are given as those of a `Part`."""
    try:
        if shape.operation is not Operation.UPDATE:
            return shape.form.texts(
                [_converted(shape, place, some)[0] for place, some in enumerate(columns)]
            )
        pairs = [_converted(shape, place, *pair) for place, pair in enumerate(columns)]
        return shape.form.texts_of_pairs(
            [
                _members(name, olds, news) if _may_be_taken_apart(olds) else (olds, news)
                for name, (olds, news) in zip(shape.form.names, pairs, strict=True)
            ]
        )
    except Exception:  # a column type, or a time zone, may do anything
        return None


def _converted(shape: Shape, place: int, *columns: Column) -> Sequence[Column]:
    """Columns of values with one name as they go to the log."""
    convert = shape.conversions.get(place)
    found = columns if convert is None else tuple(map(convert, columns))
    if shape.conceals and not all(ATOMS.issuperset(map(type, column)) for column in found):
        raise EncodingError("something inside of these may have to be hidden")
    return found


def _may_be_taken_apart(olds: Column) -> bool:
    """Whether changes of some of these may be told by what changed inside."""
    return not ATOMS.issuperset(map(type, olds))


def _members(name: str, olds: Column, news: Column) -> Members:
    """What changed inside of each value with a name, as it is within the text of its object."""
    changes = map(Change, olds, news)
    compacted = (ChangeSet({name: change}).compacted() for change in changes)
    return Members(codec.to_text(_dump(one))[1:-1] for one in compacted)


def _dump_paths(body: dict[str, Any]) -> Any:
    if codec.is_text("".join(body)):
        return body
    return [[codec.encode(path), delta] for path, delta in body.items()]


def _dump_delta(delta: Delta) -> Any:
    if type(delta) is Change:
        return codec.encode_pair(delta.old, delta.new)
    if isinstance(delta, SetEdit):
        return {"added": _dump_set(delta.added), "removed": _dump_set(delta.removed)}
    assert isinstance(delta, ListEdit)
    return {"steps": [_dump_step(step) for step in delta.steps]}


def _dump_set(elements: frozenset[Any]) -> Any:
    return codec.encode(elements)["$frozenset"]  # sorted, so that equal sets have equal texts


def _dump_step(step: Splice | Within) -> dict[str, Any]:
    if isinstance(step, Within):
        return {
            "within": _dump_paths({path: _dump_delta(delta) for path, delta in step.deltas.items()})
        }
    return {
        "index": step.index,
        "removed": codec.encode(list(step.removed)),
        "inserted": codec.encode(list(step.inserted)),
    }


def load(text: str, operation: Operation, format: int) -> ChangeSet:
    """The changeset of a text that was written in a format.

    Raises ``HistoryError`` for a format this release does not know, and for a damaged text.
    """
    loader = _LOADERS.get(format)
    if loader is None:
        raise HistoryError(
            f"it is written in record format {format} and this release of lifecycle reads "
            f"{', '.join(map(str, _LOADERS))}; the release that wrote it, or a newer one, is needed"
        )
    body = codec.from_text(text)
    try:
        return ChangeSet(loader(body, operation), operation)
    except (AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
        raise HistoryError(
            f"its changes are not in record format {format} ({error!r}): they were altered after "
            "they were written; compare them with a backup"
        ) from error


def advanced(values: dict[str, Any], text: str, is_insert: bool, format: int) -> bool:
    """Bring an object's state forward by a stored changeset, without making the changeset.

    Returns whether it was so simple: whole values of whole fields. Else nothing was done, and it
    takes `load` and `ChangeSet.applied_to`, which do the same, or say what is wrong.
    """
    if format != 1:
        return False
    try:
        body = codec.from_text(text)
    except HistoryError:
        return False
    if type(body) is not dict:
        return False
    news: dict[str, Any] = {}
    gone: list[str] = []
    for path, found in body.items():
        if "." in path or "~" in path:
            return False
        if not is_insert:
            if type(found) is not list or len(found) != 2:
                return False
            found = found[1]
        kind = type(found)
        if kind is dict or kind is list:
            if is_insert and kind is dict and _DELTA in found:
                return False
            found = codec.decode(found)
            if found is ABSENT:
                gone.append(path)
                continue
        news[path] = found
    values.update(news)
    for path in gone:
        values.pop(path, None)
    return True


def _load_1(body: Any, operation: Operation) -> dict[str, Delta]:
    read: Callable[[Any], Delta] = {
        Operation.INSERT: _load_inserted,
        Operation.DELETE: _load_deleted,
        Operation.UPDATE: _load_delta,
        Operation.BULK: _load_delta,
    }[operation]
    return {path: read(found) for path, found in _load_paths(body).items()}


def _load_paths(body: Any) -> Mapping[str, Any]:
    if isinstance(body, list):
        return {codec.decode(path): found for path, found in body}
    return dict(body)


def _load_inserted(found: Any) -> Delta:
    if isinstance(found, dict) and _DELTA in found:
        return _load_delta(found[_DELTA])
    return Change(ABSENT, codec.decode(found))


def _load_deleted(found: Any) -> Delta:
    if isinstance(found, dict) and _DELTA in found:
        return _load_delta(found[_DELTA])
    return Change(codec.decode(found), ABSENT)


def _load_delta(found: Any) -> Delta:
    if isinstance(found, list):
        old, new = found
        return Change(codec.decode(old), codec.decode(new))
    if "steps" in found:
        return ListEdit(tuple(_load_step(step) for step in found["steps"]))
    return SetEdit(_load_set(found["added"]), _load_set(found["removed"]))


def _load_set(elements: list[Any]) -> frozenset[Any]:
    return frozenset(map(codec.decode, elements))


def _load_step(found: dict[str, Any]) -> Splice | Within:
    if "within" in found:
        inside = _load_paths(found["within"])
        return Within({path: _load_delta(delta) for path, delta in inside.items()})
    return Splice(
        found["index"],
        tuple(map(codec.decode, found["removed"])),
        tuple(map(codec.decode, found["inserted"])),
    )


_LOADERS: Final[dict[int, Callable[[Any, Operation], dict[str, Delta]]]] = {1: _load_1}
