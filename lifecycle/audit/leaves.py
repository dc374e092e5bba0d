"""What a seal takes of a record: digests that still hold when values of it have been erased.

A record is cut into cells: its key, former key, label, error, and each of its changes; a revision
into who, why and in which request. Each cell that has a value is committed to by the SHA-256 of a
salt of its own and the text in the log. The digest of the record is that of its commitments and of
what cannot be erased (its place, entity, operation, cause and format). The salts of a record come
from one random number, kept beside the log. To erase a value is to put its commitment in its place
and to forget its salt, which leaves nothing to guess against, and the same digest.

Rows are tuples of plain values in the order of the tables' columns, with ids as 32 hexadecimal
digits and times as ``2026-11-21 08:06:43.618766`` in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256, shake_128
from os import urandom
from struct import Struct as Packing
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from lifecycle.errors import EvidenceError

__all__ = ["HEADER", "Fate", "Leaf", "Part", "Row", "acts_of", "erased", "leaf_of", "part_digest"]

Row: TypeAlias = tuple[Any, ...]

HEADER: Final = -1
"""Stands in place of a record's number for the row of its revision."""

SALT: Final = 16
_UNUSED: Final = ""  # for the salt of a cell without a value
_ZERO: Final = bytes(SALT)
_ALL: Final = -2  # stands for every part of a leaf
_PART: Final = Packing(">i32s16s")
_PLACE: Final = Packing(">qi")

# Where the cells are in a row. What is not named here cannot be erased.
_OF_REVISION: Final = {"actor": 3, "actor_label": 4, "reason": 5, "request_id": 7, "context": 8}
_OF_RECORD: Final = {"key": 3, "former_key": 4, "label": 6, "error": 7}
_CONTEXT: Final = 8
_CHANGES: Final = 9
_OPERATION: Final = 5

_pack: Final = msgspec.msgpack.Encoder().encode
_to_json: Final = msgspec.json.Encoder().encode
_by_path: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_in_pairs: Final = msgspec.json.Decoder(list[tuple[msgspec.Raw, msgspec.Raw]]).decode
_DIGEST: Final = re.compile("[0-9a-f]{64}")


class Fate(msgspec.Struct, omit_defaults=True):
    """What became of a part after it was sealed, and by which acts of the chain.

    ``salts`` are those of the cells that are left, in hexadecimal digits; ``erased`` tells for each
    act the cells it erased; ``pruned`` is the act that removed it.
    """

    salts: list[str | None] | None = None
    erased: dict[int, list[int]] = {}
    pruned: int | None = None


class Part(NamedTuple):
    """One row as it was sealed: its number, its digest and what its salts are made from."""

    n: int
    digest: bytes
    salt: bytes


class Leaf(msgspec.Struct):
    """Some rows of one revision as they were sealed together, and what became of them since.

    ``place`` counts the leaves of a seal from 0. ``all_pruned`` is the act that removed all that
    was left.
    """

    seq: int
    n: int
    seal: int
    place: int
    parts: tuple[Part, ...]
    fates: dict[int, Fate] = {}
    all_pruned: int | None = None

    @property
    def digest(self) -> bytes:
        """What stands for these rows in the tree of their seal; it outlives them."""
        content = b"".join([_PART.pack(n, digest, _ZERO) for n, digest, _ in self.parts])
        return sha256(b"\0" + _PLACE.pack(self.seq, self.n) + content).digest()

    @property
    def packed(self) -> bytes:
        """The parts as they are stored."""
        return b"".join([_PART.pack(*part) for part in self.parts])

    @property
    def kept(self) -> str | None:
        """What became of the parts, as it is stored."""
        if not self.fates and self.all_pruned is None:
            return None
        return msgspec.json.encode([self.all_pruned, self.fates]).decode()

    @classmethod
    def stored(cls, seq: int, n: int, seal: int, place: int, packed: bytes, kept: Any) -> Leaf:
        """A leaf from what is stored. Raises ``EvidenceError`` when that cannot be one."""
        try:
            parts = tuple(Part(*found) for found in _PART.iter_unpack(packed))
            all_pruned, fates = (None, {}) if kept is None else _read_kept(kept)
            leaf = cls(seq, n, seal, place, parts, fates, all_pruned)
            if leaf.kept != kept:
                raise ValueError("not as it was written")
        except Exception as error:
            raise EvidenceError(f"the leaf of the evidence cannot be read ({error})") from error
        return leaf

    def fate(self, n: int) -> Fate | None:
        """What became of a part; ``None`` when it is as it was sealed."""
        fate = self.fates.get(n)
        if self.all_pruned is None:
            return fate
        return Fate(pruned=self.all_pruned) if fate is None or fate.pruned is None else fate


_read_kept: Final = msgspec.json.Decoder(tuple[int | None, dict[int, Fate]]).decode


def leaf_of(seal: int, place: int, seq: int, rows: Sequence[Row]) -> Leaf:
    """The leaf of some rows of one revision; the row of the revision itself may be the first."""
    salts = urandom(SALT * len(rows))
    parts = []
    for at, row in enumerate(rows):
        salt = salts[at * SALT : at * SALT + SALT]
        is_header = len(row) == 12
        parts.append(Part(HEADER if is_header else row[1], part_digest(row, salt), salt))
    return Leaf(seq, parts[0].n, seal, place, tuple(parts))


def part_digest(row: Row, salt: bytes, kept: Sequence[str | None] | None = None) -> bytes:
    """The digest of a row, from its salt or from the salts that are left of it.

    Raises ``EvidenceError`` when the row is not as Lifecycle writes it.
    """
    if kept is None and len(row) == 11:
        return _quick(row, salt)
    content, cells, names = _cut(row)
    salts = _salts(salt, len(cells)) if kept is None else kept
    if len(salts) != len(cells):
        raise EvidenceError("it has not as many values as it had")
    content.append(names)
    for place, (cell, one) in enumerate(zip(cells, salts, strict=True)):
        if cell is None:
            if kept is not None and one != _UNUSED:
                raise EvidenceError("the evidence of it is not as it was written")
            content.append(None)
        elif one is None:
            content.append(_left(row, place, cell))
        else:
            content.append(sha256(_salt(one) + cell).digest())
    return sha256(_pack(content)).digest()


def _salt(given: bytes | str) -> bytes:
    if isinstance(given, bytes):
        return given
    salt = bytes.fromhex(given)
    if salt.hex() != given:
        raise EvidenceError("the evidence of it is not as it was written")
    return salt


def _quick(row: Row, salt: bytes) -> bytes:
    """The digest of a record nothing has been erased from: the same, in fewer steps."""
    seq, n, entity, key, former_key, operation, label, error, cause, changes, format = row
    try:
        pieces = _by_path(changes)
        if _to_json(pieces) != changes.encode():
            raise EvidenceError("its changes are not written as Lifecycle writes them")
        names: list[Any] = list(pieces)
        values = list(pieces.values())
    except (msgspec.DecodeError, UnicodeError):
        names, values = _cells_in_pairs(changes)
    salts = shake_128(salt).digest(SALT * (4 + len(values)))
    content: list[Any] = [
        [seq, n, entity, operation, cause, format],
        names,
        None if key is None else sha256(salts[:16] + key.encode()).digest(),
        None if former_key is None else sha256(salts[16:32] + former_key.encode()).digest(),
        None if label is None else sha256(salts[32:48] + label.encode()).digest(),
        None if error is None else sha256(salts[48:64] + error.encode()).digest(),
    ]
    at = 64
    for value in values:
        content.append(sha256(salts[at : at + 16] + bytes(value)).digest())
        at += 16
    return sha256(_pack(content)).digest()


def _cut(row: Row) -> tuple[list[Any], list[bytes | None], list[Any]]:
    """What of a row cannot be erased, what can, and the names of its changes."""
    if len(row) == 12:
        plain = [row[0], row[1], row[2], row[6], row[9], row[10], row[11]]
        return [plain], [_bytes(row[place]) for place in _OF_REVISION.values()], []
    plain = [row[0], row[1], row[2], row[_OPERATION], row[8], row[10]]
    cells = [_bytes(row[place]) for place in _OF_RECORD.values()]
    names, values = _cells(row[_CHANGES])
    return [plain], [*cells, *map(bytes, values)], names


def _bytes(cell: str | None) -> bytes | None:
    return None if cell is None else cell.encode()


def _cells(changes: str) -> tuple[list[Any], list[Any]]:
    try:
        pieces = _by_path(changes)
    except msgspec.DecodeError:
        return _cells_in_pairs(changes)
    if _to_json(pieces) != changes.encode():
        raise EvidenceError("its changes are not written as Lifecycle writes them")
    return list(pieces), list(pieces.values())


def _cells_in_pairs(changes: str) -> tuple[list[Any], list[Any]]:
    try:
        pairs = _in_pairs(changes)
    except msgspec.DecodeError as error:
        raise EvidenceError(f"its changes cannot be read ({error})") from error
    if _to_json(pairs) != changes.encode():
        raise EvidenceError("its changes are not written as Lifecycle writes them")
    return [bytes(path) for path, _ in pairs], [value for _, value in pairs]


def _salts(salt: bytes, count: int) -> list[bytes]:
    stream = shake_128(salt).digest(SALT * count)
    return [stream[at : at + SALT] for at in range(0, len(stream), SALT)]


# --- erasing --------------------------------------------------------------------------------


def erased(
    row: Row, wanted: Callable[[str], bool], part: Part | None, fate: Fate | None
) -> tuple[Row, list[int], list[str | None]] | None:
    """A row without the cells that are wanted by name, and the salts that are left of it.

    The names are those of the columns; of a record, a change is named by its field's path after a
    dot. ``part`` is ``None`` for a row that is not sealed. Returns the row, the places of what was
    erased now, and the salts; ``None`` when there was nothing to erase.
    """
    _, cells, names = _cut(row)
    columns = _OF_REVISION if len(row) == 12 else _OF_RECORD
    titles = [*columns, *(f".{_path(name)}" for name in names)]
    if fate is not None and fate.salts is not None:
        salts: list[str | None] = list(fate.salts)
    else:
        fresh = _salts(urandom(SALT) if part is None else part.salt, len(cells))
        salts = [
            _UNUSED if cell is None else one.hex() for one, cell in zip(fresh, cells, strict=True)
        ]
    gone = [
        place
        for place, title in enumerate(titles)
        if cells[place] is not None and salts[place] is not None and wanted(title)
        and not _is_left(row, place, cells[place])
    ]  # fmt: skip
    if not gone:
        return None
    changed = list(row)
    values = dict(zip(range(len(columns), len(cells)), _raw_changes(row), strict=True))
    for place in gone:
        cell, salt = cells[place], salts[place]
        assert cell is not None
        assert salt is not None
        digest = sha256(bytes.fromhex(salt) + cell).hexdigest()
        text = _instead(row, place, digest)
        if place < len(columns):
            changed[list(columns.values())[place]] = text
        else:
            values[place] = msgspec.Raw(text.encode())
        salts[place] = None
    if len(row) == 11:
        changed[_CHANGES] = _joined(names, list(values.values()))
    return tuple(changed), gone, salts


def _path(name: Any) -> str:
    if isinstance(name, str):
        return name
    found = msgspec.json.decode(name)
    return found if isinstance(found, str) else str(next(iter(found.values())))


def _raw_changes(row: Row) -> list[Any]:
    return _cells(row[_CHANGES])[1] if len(row) == 11 else []


def _joined(names: Iterable[Any], values: Iterable[Any]) -> str:
    pairs = list(zip(names, values, strict=True))
    if all(isinstance(name, str) for name, _ in pairs):
        return _to_json(dict(pairs)).decode()
    return _to_json([(msgspec.Raw(name), value) for name, value in pairs]).decode()


def _instead(row: Row, place: int, digest: str) -> str:
    """What stands in place of an erased cell."""
    if len(row) == 12:
        is_context = list(_OF_REVISION.values())[place] == _CONTEXT
        return f'{{"erased":"{digest}"}}' if is_context else f"erased:{digest}"
    if place < len(_OF_RECORD):
        return f"erased:{digest}"
    value = f'{{"$erased":"{digest}"}}'
    return value if row[_OPERATION] in ("insert", "delete") else f"[{value},{value}]"


def _left(row: Row, place: int, cell: bytes) -> bytes:
    """The commitment that was left of an erased cell."""
    found = _DIGEST.search(cell.decode())
    if found is None or _instead(row, place, found[0]).encode() != cell:
        raise EvidenceError("a value that had been erased was put back")
    return bytes.fromhex(found[0])


def _is_left(row: Row, place: int, cell: bytes | None) -> bool:
    found = _DIGEST.search((cell or b"").decode())
    return found is not None and _instead(row, place, found[0]).encode() == cell


def acts_of(leaf: Leaf) -> Iterator[tuple[int, list[Any]]]:
    """What acts did to the parts of a leaf, as the digest of the act takes it."""
    if leaf.all_pruned is not None:
        yield leaf.all_pruned, [leaf.seq, leaf.n, _ALL, []]
    for n, fate in leaf.fates.items():
        for act, cells in fate.erased.items():
            yield act, [leaf.seq, leaf.n, n, cells]
        if fate.pruned is not None:
            yield fate.pruned, [leaf.seq, leaf.n, n, []]
