"""From Python values to what goes into the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sqlalchemy import JSON, Dialect, Enum, PickleType, TypeDecorator
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.types import TypeEngine

from lifecycle import codec
from lifecycle.forms import ATOMS

__all__ = ["ToLog", "from_log", "plain", "to_log"]

ToLog: TypeAlias = Callable[[Any, Dialect], Any]


def to_log(type_: TypeEngine[Any]) -> ToLog | None:
    """How a column type's values are turned into what its database stores.

    Needed for types whose Python values only the application knows: enums, pickles, and every
    ``TypeDecorator`` that binds, so that an encrypted column is encrypted in the log too. ``None``
    for the others, whose values go to the log as they are.
    """
    if isinstance(type_, PickleType):  # its processor would wrap the bytes for the driver
        return lambda value, dialect: type_.pickler.dumps(value, type_.protocol)
    if isinstance(type_, Enum):
        return lambda value, dialect: _processed(type_, value, dialect)
    if isinstance(type_, TypeDecorator):
        if type(type_).process_bind_param is not TypeDecorator.process_bind_param:
            return type_.process_bind_param
        return to_log(type_.impl_instance)
    return None


def from_log(type_: TypeEngine[Any]) -> ToLog | None:
    """How what the database stores, and so the log, is turned into a column type's values."""
    if isinstance(type_, PickleType):
        return lambda value, dialect: type_.pickler.loads(value)
    if isinstance(type_, Enum):
        return lambda value, dialect: _read(type_, value, dialect)
    if isinstance(type_, TypeDecorator):
        if type(type_).process_bind_param is not TypeDecorator.process_bind_param:
            if type(type_).process_result_value is TypeDecorator.process_result_value:
                return from_log(type_.impl_instance)
            return type_.process_result_value
        return from_log(type_.impl_instance)
    return None


def _read(type_: Enum, value: Any, dialect: Dialect) -> Any:
    processor = type_.dialect_impl(dialect).result_processor(dialect, None)
    return value if processor is None else processor(value)


def _processed(type_: Enum, value: Any, dialect: Dialect) -> Any:
    processor = type_.dialect_impl(dialect).bind_processor(dialect)
    return value if processor is None else processor(value)


def plain(value: Any) -> Any:
    """A value made of plain containers, not shared with the live object."""
    if type(value) in ATOMS:
        return value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, set):
        return set(value)
    return None if value is JSON.NULL else value


def _range_to_json(value: Range[Any]) -> dict[str, Any]:
    return {
        "lower": codec.encode(value.lower),
        "upper": codec.encode(value.upper),
        "bounds": value.bounds,
        "empty": value.empty,
    }


def _range_from_json(data: Any) -> Range[Any]:
    return Range(
        codec.decode(data["lower"]),
        codec.decode(data["upper"]),
        bounds=data["bounds"],
        empty=data["empty"],
    )


codec.register("$range", Range, _range_to_json, _range_from_json)
