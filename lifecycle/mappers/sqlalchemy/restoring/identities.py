"""From the text of a key back to the identity it is of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from lifecycle.errors import EncodingError, HistoryError
from lifecycle.keys import key_text
from lifecycle.mappers.sqlalchemy.model import Model

__all__ = ["identity_of"]


def identity_of(model: Model, key: str) -> tuple[Any, ...]:
    """The identity whose text is a key, as its columns' types have it.

    Raises ``HistoryError`` when no value of these types has the text: it is too long to have been
    kept whole, or the key's columns have other types now.
    """
    texts = key.split(",") if len(model.identity) > 1 else [key]
    parts: list[Any] = []
    if len(texts) == len(model.identity):
        for name, text in zip(model.identity, texts, strict=True):
            if len(texts) > 1:
                text = text.replace("~1", ",").replace("~0", "~")
            parts.append(_part(model, name, text))
    if len(parts) != len(model.identity) or ... in parts or key_text(parts) != key:
        raise HistoryError(
            f"the identity of {model.entity} {key} cannot be told from its key: no values of "
            f"{', '.join(model.identity)} have this text; the type of a column has changed, or "
            "the text was too long to be kept whole"
        )
    return tuple(parts)


def _part(model: Model, name: str, text: str) -> Any:
    if text == "~" and len(model.identity) > 1:
        return None
    for value in _candidates(model, name, text):
        try:
            if key_text((value,)) == text:
                return value
        except EncodingError:
            continue
    return ...


def _candidates(model: Model, name: str, text: str) -> Iterator[Any]:
    column = model.mapper.attrs[name].columns[0]
    enum_class = getattr(column.type, "enum_class", None)
    if enum_class is not None:
        yield from (member for member in enum_class if member.name == text)
    try:
        kind = column.type.python_type
    except NotImplementedError:
        kind = str
    for known, parse in _PARSERS.items():
        if issubclass(kind, known) and not issubclass(kind, Enum):
            try:
                yield parse(text)
            except (ValueError, ArithmeticError):
                continue
    yield text
    for parse in (UUID, int):  # a type of the application's own tells less than it could
        try:
            yield parse(text)
        except ValueError:
            continue


_PARSERS: Final[dict[type, Callable[[str], Any]]] = {
    bool: lambda text: {"True": True, "False": False}[text] if text in ("True", "False") else None,
    int: int,
    float: float,
    Decimal: Decimal,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    UUID: UUID,
    bytes: bytes.fromhex,
}
