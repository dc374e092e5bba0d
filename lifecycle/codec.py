"""Values as JSON, and back, exactly.

A value JSON has a type for stays as it is. Any other becomes an object with one key, its tag, in
the manner of MongoDB Extended JSON::

    {"$decimal": "1.10"}    {"$date": "2026-11-21T10:00:00+00:00"}    {"$tuple": [1, 2]}

A map whose keys are not all text, or that has a key beginning with ``$``, is tagged ``$map``, so
an object in the log that has such a key is always a tagged value.

`encode` and `decode` turn values into the builtins of JSON and back; `dumps` and `loads` into its
text; `canonical` gives bytes to compare and to digest. A mapper adds the types of its driver with
`register`. Reading never imports: what this process does not know is kept as `Opaque`.
"""

from __future__ import annotations

import math
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any, Final, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from lifecycle.errors import ConfigurationError, EncodingError, HistoryError
from lifecycle.markers import Erased, Marker

__all__ = [
    "Opaque",
    "canonical",
    "decode",
    "dumps",
    "encode",
    "encode_each",
    "encode_pair",
    "from_text",
    "is_text",
    "kind_of",
    "loads",
    "register",
    "to_text",
]

_DEEPEST: Final = 100  # levels of containers; BSON allows as many
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**63 - 1

_Encoder: TypeAlias = Callable[[Any, int], Any]  # a value, and the levels still allowed below it
_Decoder: TypeAlias = Callable[[Any], Any]


# --- the public face ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """A recorded value this process cannot rebuild: its tag and its JSON, as they were found.

    Its type is not registered, its enum is gone, or its JSON is damaged. It is encoded to exactly
    the JSON it came from.
    """

    tag: str
    payload: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Opaque):
            return NotImplemented
        return self._bytes() == other._bytes()

    def __hash__(self) -> int:
        return hash(self._bytes())

    def __str__(self) -> str:
        return f"{self.tag[1:]} {to_text(self.payload)}"

    def _bytes(self) -> bytes:
        return _ordered.encode({self.tag: self.payload})


def encode(value: Any) -> Any:
    """The builtins of JSON for a value.

    Subclasses of str, int, dict, list and the like become the plain type (`kind_of`). Raises
    ``EncodingError`` for a type that is not known, and for containers nested too deeply or into
    themselves.
    """
    try:
        return _encode(value, _DEEPEST)
    except RecursionError:
        raise _too_deep() from None


def encode_each(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same for each of some values, under the names they have. Raises as `encode`."""
    try:
        # What JSON has a type for needs no call; this runs for every recorded row.
        return {
            name: value
            if ((kind := type(value)) is str and value.isascii())
            or (kind is int and _SMALLEST <= value <= _LARGEST)
            or value is None
            or kind is bool
            or (kind is float and math.isfinite(value))
            else {"$decimal": str(value)}
            if kind is Decimal
            else _encode(value, _DEEPEST)
            for name, value in values.items()
        }
    except RecursionError:
        raise _too_deep() from None


def encode_pair(old: Any, new: Any) -> list[Any]:
    """The same for two values, as a rule of one type. Raises as `encode`."""
    kind = type(old)
    if kind is type(new):  # this runs for every recorded change of a field
        if kind is str:
            if old.isascii() and new.isascii():
                return [old, new]
        elif kind is int:
            if _SMALLEST <= old <= _LARGEST and _SMALLEST <= new <= _LARGEST:
                return [old, new]
        elif kind is Decimal:
            return [{"$decimal": str(old)}, {"$decimal": str(new)}]
    return [encode(old), encode(new)]


def decode(builtins: Any) -> Any:
    """The value of what `encode` gave; a tagged value that cannot be rebuilt becomes `Opaque`."""
    kind = type(builtins)
    if kind is dict:
        if len(builtins) == 1:
            ((tag, payload),) = builtins.items()
            if tag[:1] == "$":
                return _decode_tagged(tag, payload)
        return {key: decode(item) for key, item in builtins.items()}
    if kind is list:
        return [decode(item) for item in builtins]
    return builtins


def dumps(value: Any) -> str:
    """The JSON text of a value: no raw NUL and no lone surrogate in it. Raises as `encode`."""
    return to_text(encode(value))


def loads(text: str | bytes) -> Any:
    """The value of a JSON text. Raises as `from_text`."""
    return decode(from_text(text))


def canonical(value: Any) -> bytes:
    """Bytes that are equal for two values exactly when type and value are, at every depth.

    The order of a map's keys does not count. Raises as `encode`.
    """
    encoded = encode(value)
    text = _ordered.encode(encoded)
    # Only a map that is recorded as pairs has an order that does not count.
    return _ordered.encode(_without_order(encoded)) if b'"$map"' in text else text


def to_text(builtins: Any) -> str:
    """The JSON text of encoded values and the builtins around them.

    Raises ``EncodingError`` when a string among them, or a key, has a lone surrogate.
    """
    try:
        return _encoder.encode(builtins).decode()
    except UnicodeEncodeError:
        raise EncodingError(
            "a string with a lone surrogate cannot be written as JSON text; "
            "pass it through lifecycle.codec.encode() first"
        ) from None


def from_text(text: str | bytes) -> Any:
    """The builtins of a JSON text. Raises ``HistoryError`` for a text that is not JSON."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HistoryError(
            f"a text of {len(text)} characters in the log is not JSON ({error}): it was cut or "
            "altered after it was written; compare it with a backup"
        ) from error


def register(
    tag: str, cls: type, to_json: Callable[[Any], Any], from_json: Callable[[Any], Any]
) -> None:
    """Let values of a class be recorded under a tag.

    ``to_json`` gives builtins of JSON, with `encode` for parts of any type; ``from_json`` gives
    the value back, and whatever it raises makes the value an `Opaque`. Registering the same again
    does nothing. Raises ``ConfigurationError`` when the tag or the class is taken, or the tag does
    not begin with ``$``.
    """
    if not tag.startswith("$"):
        raise ConfigurationError(f"the tag {tag!r} for {_name(cls)} must begin with '$'")
    if _registered.get(tag) == (cls, to_json, from_json):
        return
    if tag in _decoders:
        raise ConfigurationError(f"the tag {tag!r} for {_name(cls)} is taken; choose another")
    if cls in _known:
        raise ConfigurationError(
            f"{_name(cls)} cannot be registered as {tag!r}: it is recorded in another way already"
        )
    _registered[tag] = (cls, to_json, from_json)
    _decoders[tag] = from_json
    _known[cls] = lambda value, room: {tag: to_json(value)}
    _adopted.clear()  # a subclass may have been taken for something else


def kind_of(value: object) -> type:
    """The type a value is recorded as: its own, or the known one that is a subclass of."""
    kind = type(value)
    return _BYTES.get(kind) or _base(kind) or kind


def is_text(value: str) -> bool:
    """Whether a string can be written as UTF-8: it has no lone surrogate."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


_encoder: Final = msgspec.json.Encoder()
_ordered: Final = msgspec.json.Encoder(order="deterministic")
_decoder: Final = msgspec.json.Decoder()


# --- encoding -------------------------------------------------------------------------------


def _encode(value: Any, room: int) -> Any:
    # The plain values first: this runs for every recorded value.
    kind = type(value)
    if kind is str:
        if value.isascii():
            return value
    elif kind is int:
        if _SMALLEST <= value <= _LARGEST:
            return value
    elif value is None or kind is bool:
        return value
    encoder = _known.get(kind) or _adopted.get(kind) or _adopt(kind)
    return encoder(value, room)


def _adopt(kind: type) -> _Encoder:
    """The encoder of the known class a class descends from."""
    base = _base(kind)
    if base is None:
        raise EncodingError(
            f"a value of type {_name(kind)} has no exact form in the log; leave its field out or "
            "mask it with @audited, or add the type with lifecycle.codec.register()"
        )
    encoder = _encode_enum if base is kind else _known[base]
    _adopted[kind] = encoder
    return encoder


def _base(kind: type) -> type | None:
    if kind in _known or issubclass(kind, Enum):  # an enum is never just the int or str it is too
        return kind
    return next((base for base in kind.__mro__ if base in _known), None)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _too_deep() -> EncodingError:
    return EncodingError(
        f"a value is nested more than {_DEEPEST} levels deep, or contains itself; "
        "flatten it, or leave its field out with @audited(exclude=...)"
    )


def _encode_text(value: str, room: int) -> Any:
    if is_text(value):
        return str.__str__(value)
    return {"$text": b64encode(value.encode("utf-8", "surrogatepass")).decode()}


def _encode_int(value: int, room: int) -> Any:
    if _SMALLEST <= value <= _LARGEST:
        return int.__int__(value)
    # Python refuses to convert very long numbers to and from decimal digits.
    return {"$int": int.__repr__(value) if value.bit_length() < 2000 else hex(value)}


def _encode_float(value: float, room: int) -> Any:
    if math.isfinite(value):
        return float.__float__(value)
    return {"$float": float.__repr__(value)}


def _encode_dict(value: dict[Any, Any], room: int) -> Any:
    if not room:
        raise _too_deep()
    room -= 1
    encoded: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str or "$" in key or not key.isascii():
            return _encode_map(value, encoded, room)
        kind = type(item)
        if (kind is str and item.isascii()) or item is None or kind is bool:
            encoded[key] = item
        else:
            encoded[key] = _encode(item, room)
    return encoded


def _encode_map(value: dict[Any, Any], encoded: dict[str, Any], room: int) -> Any:
    """The same for a map whose keys need a closer look; ``encoded`` holds the items done so far.

    They are not done again: each level of a deep value would double the work of the one above.
    """
    pairs = [
        [_encode(key, room), encoded[key] if key in encoded else _encode(item, room)]
        for key, item in value.items()
    ]
    if all(type(key) is str and key[:1] != "$" for key, _ in pairs):
        return dict(pairs)
    return {"$map": pairs}


def _encode_items(value: Iterable[Any], room: int) -> list[Any]:
    if not room:
        raise _too_deep()
    room -= 1
    return [_encode(item, room) for item in value]


def _encode_set(value: Iterable[Any], room: int) -> list[Any]:
    return sorted(_encode_items(value, room), key=_ordered.encode)


def _encode_bytes(value: bytes | bytearray, room: int) -> Any:
    return {"$bytes": b64encode(value).decode()}


def _encode_moment(kind: type[datetime] | type[time], value: Any) -> Any:
    """A date with time, or a time, in ISO form; with a named zone or a fold, an object of them."""
    zone = value.tzinfo
    if (zone is None or type(zone) is timezone) and not value.fold:
        return kind.isoformat(value)
    parts: dict[str, Any] = {}
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        parts["zone"] = zone.key
        value = value.replace(tzinfo=None)
    elif zone is not None and value.utcoffset() is None:
        raise EncodingError(
            f"a {kind.__name__} in a zone of type {_name(type(zone))} has neither a zone name nor "
            "an offset to record; use zoneinfo.ZoneInfo or datetime.timezone"
        )
    if value.fold:
        parts["fold"] = 1
    text = kind.isoformat(value)
    return {"at": text, **parts} if parts else text


def _encode_datetime(value: datetime) -> Any:
    if type(value) is datetime and not value.fold:
        # As isoformat() has it, at a quarter of the time.
        if value.tzinfo is UTC:
            return f"{msgspec.to_builtins(value)[:-1]}+00:00"  # it ends in "Z"
        if value.tzinfo is None:
            return msgspec.to_builtins(value)
    return _encode_moment(datetime, value)


def _encode_enum(value: Enum, room: int) -> Any:
    kind, name = type(value), value.name
    payload: dict[str, Any] = {"class": _name(kind), "name": name}
    if name not in kind.__members__:  # a combination of flags
        payload["value"] = _encode(value.value, room - 1)
    return {"$enum": payload}


def _tagged(tag: str, encoder: _Encoder) -> _Encoder:
    return lambda value, room: {tag: encoder(value, room)}


def _spelled(tag: str) -> _Encoder:
    return lambda value, room: {tag: str(value)}


_known: Final[dict[type, _Encoder]] = {
    str: _encode_text,
    int: _encode_int,
    bool: lambda value, room: value,
    type(None): lambda value, room: value,
    float: _encode_float,
    dict: _encode_dict,
    list: _encode_items,
    tuple: _tagged("$tuple", _encode_items),
    set: _tagged("$set", _encode_set),
    frozenset: _tagged("$frozenset", _encode_set),
    datetime: lambda value, room: {"$date": _encode_datetime(value)},
    date: lambda value, room: {"$day": date.isoformat(value)},
    time: lambda value, room: {"$time": _encode_moment(time, value)},
    timedelta: lambda value, room: {"$timedelta": [value.days, value.seconds, value.microseconds]},
    Decimal: lambda value, room: {"$decimal": Decimal.__str__(value)},
    UUID: _spelled("$uuid"),
    IPv4Address: _spelled("$ip"),
    IPv6Address: _spelled("$ip"),
    IPv4Interface: _spelled("$interface"),
    IPv6Interface: _spelled("$interface"),
    IPv4Network: _spelled("$network"),
    IPv6Network: _spelled("$network"),
    bytes: _encode_bytes,
    bytearray: _encode_bytes,
    memoryview: lambda value, room: _encode_bytes(value.tobytes(), room),
    Marker: lambda value, room: {"$marker": value.value},
    Erased: lambda value, room: {"$erased": value.digest},
    Opaque: lambda value, room: {value.tag: value.payload},
}
"""How values of a class are encoded: the classes of this module, and those registered."""

_adopted: Final[dict[type, _Encoder]] = {}  # the same for their subclasses, as they turn up
_registered: Final[dict[str, tuple[type, _Decoder, _Decoder]]] = {}
_BYTES: Final[dict[type, type]] = {bytearray: bytes, memoryview: bytes}


def _without_order(encoded: Any) -> Any:
    if isinstance(encoded, list):
        return [_without_order(item) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    parts = {key: _without_order(item) for key, item in encoded.items()}
    for tag in ("$map", "$set", "$frozenset"):
        if isinstance(parts.get(tag), list):
            parts[tag].sort(key=_ordered.encode)
    return parts


# --- decoding -------------------------------------------------------------------------------


def _decode_tagged(tag: str, payload: Any) -> Any:
    decoder = _decoders.get(tag)
    if decoder is None:
        return Opaque(tag, payload)
    try:
        return decoder(payload)
    except Exception:  # what cannot be rebuilt is shown as it was recorded, never lost
        return Opaque(tag, payload)


def _decode_text(payload: str) -> str:
    return b64decode(payload, validate=True).decode("utf-8", "surrogatepass")


def _decode_map(payload: list[Any]) -> dict[Any, Any]:
    return {decode(key): decode(item) for key, item in payload}


def _decode_moment(kind: type[Any], payload: Any) -> Any:
    if isinstance(payload, str):
        return kind.fromisoformat(payload)
    moment = kind.fromisoformat(payload["at"])
    zone = ZoneInfo(payload["zone"]) if "zone" in payload else moment.tzinfo
    return moment.replace(tzinfo=zone, fold=payload.get("fold", 0))


def _decode_enum(payload: dict[str, Any]) -> Enum:
    cls = _loaded_class(payload["class"])
    if payload["name"] in cls.__members__:
        return cls[payload["name"]]
    if issubclass(cls, Flag):
        value = decode(payload["value"])
        member = cls(value)
        if member.value == value:  # Python 3.11 drops bits the flag does not have
            return member
    raise LookupError(payload["name"])


def _loaded_class(path: str) -> type[Enum]:
    """The enum of that name, from the modules this process has imported."""
    module, _, name = path.rpartition(".")
    names = [name]
    while module not in sys.modules:
        module, _, name = module.rpartition(".")
        names.insert(0, name)
        if not module:
            raise LookupError(path)
    found: Any = sys.modules[module]
    for name in names:
        found = vars(found)[name]  # not getattr: a module may import on attribute access
    if not issubclass(found, Enum):
        raise LookupError(path)
    cls: type[Enum] = found
    return cls


_decoders: Final[dict[str, _Decoder]] = {
    "$text": _decode_text,
    "$int": lambda payload: int(payload, 0),
    "$float": float,
    "$map": _decode_map,
    "$tuple": lambda payload: tuple(map(decode, payload)),
    "$set": lambda payload: set(map(decode, payload)),
    "$frozenset": lambda payload: frozenset(map(decode, payload)),
    "$date": lambda payload: _decode_moment(datetime, payload),
    "$day": date.fromisoformat,
    "$time": lambda payload: _decode_moment(time, payload),
    "$timedelta": lambda payload: timedelta(*payload),
    "$decimal": Decimal,
    "$uuid": UUID,
    "$ip": ip_address,
    "$interface": ip_interface,
    "$network": ip_network,
    "$bytes": lambda payload: b64decode(payload, validate=True),
    "$enum": _decode_enum,
    "$marker": Marker,
    "$erased": Erased,
}
