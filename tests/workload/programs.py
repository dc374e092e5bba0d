"""Programs: plain steps that can be printed, read back, and done again."""

from __future__ import annotations

import datetime
import decimal
import ipaddress
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from tests.workload.models import Base, Colour, Point

__all__ = ["Ref", "Step", "from_text", "to_text"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A row by its class and the key, or the tag, that the program gave it."""

    model: str
    handle: Any

    def __repr__(self) -> str:
        handle = self.handle if isinstance(self.handle, tuple) else (self.handle,)
        return f"{self.model}[{', '.join(map(repr, handle))}]"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one session, with everything that was chosen for it."""

    session: str
    name: str
    choices: tuple[Any, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.session}.{self.name}({', '.join(map(repr, self.choices))})"


def to_text(steps: list[Step]) -> str:
    """A program as one step a line."""
    return "\n".join(map(str, steps))


def from_text(text: str) -> list[Step]:
    """The program of such a text, without its comments and empty lines."""
    lines = (line.strip() for line in text.splitlines())
    return [eval(line, _NAMES) for line in lines if line and not line.startswith("#")]


class _Model:
    """``Book[4]`` in a program."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, handle: Any) -> Ref:
        return Ref(self._name, handle)


class _Session:
    """``a.flush()`` in a program."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, step: str) -> Any:
        return lambda *choices: Step(self._name, step, choices)


_NAMES: Final[dict[str, Any]] = {
    "a": _Session("a"),
    "b": _Session("b"),
    "Colour": Colour,
    "Decimal": decimal.Decimal,
    "Point": Point,
    "IPv4Address": ipaddress.IPv4Address,
    "UUID": uuid.UUID,
    "datetime": datetime,
    **{mapper.class_.__name__: _Model(mapper.class_.__name__) for mapper in Base.registry.mappers},
}
