"""Finding what of some changes the log cannot hold, after recording them has failed."""

from __future__ import annotations

from collections.abc import Sequence

from lifecycle import codec
from lifecycle.audit.format import dump
from lifecycle.changes import Change, ChangeSet, Delta, Operation, split_path
from lifecycle.faults import Faults, cause_of, field_named, unknown
from lifecycle.markers import UNKNOWN
from lifecycle.written import Written

__all__ = ["mend"]


def mend(written: Sequence[Written], faults: Faults) -> bool:
    """Put ``UNKNOWN`` for every value that cannot be encoded; returns whether there were any.

    Raises ``RecordingError`` for the first object that has one, when such changes are to fail.
    """
    mended = False
    for one in written:
        found: dict[str, str] = {}
        deltas = {path: _mended(one, path, delta, found) for path, delta in one.changes.items()}
        error = faults.settle(one.entity, one.key, found)
        if error is not None:
            one.changes = ChangeSet(deltas, one.changes.operation)
            one.error = error if one.error is None else f"{one.error}; {error}"
            mended = True
    return mended


def _mended(one: Written, path: str, delta: Delta, found: dict[str, str]) -> Delta:
    field = split_path(path)[0]
    if field in one.policy.exclude or field in one.policy.mask:
        return delta  # it is not recorded
    try:
        _try(path, delta, one.changes.operation)
    except Exception as error:
        found[field_named(field)] = cause_of(error)
    else:
        return delta
    if isinstance(delta, Change):
        return Change(_encodable(delta.old), _encodable(delta.new))
    return Change(UNKNOWN, UNKNOWN)


def _try(path: str, delta: Delta, operation: Operation) -> None:
    """Make the text of one field's change, as recording it would."""
    dump(ChangeSet({path: delta}, operation).compacted())


def _encodable(value: object) -> object:
    try:
        codec.dumps(value)
    except Exception:
        return unknown(value)
    return value
