"""What about a model could leave the log wanting, or saying too much."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from lifecycle.deltas import join_path
from lifecycle.markers import is_hidden

__all__ = ["Lint", "looks_secret", "secrets_inside"]

_SECRET: Final = re.compile(
    r"(^|_)(pass(word|wd|phrase|code)?|pwd|secret|token|credentials?|otp|cvv|cvc|pin|ssn|iban)(_|$)"
    r"|(api|private|secret|access|encryption)_?key|password|card_?number"
)
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Lint(NamedTuple):
    """One remark: about a model, or a field of it, by which rule, and what to do."""

    entity: str
    field: str
    rule: str
    advice: str

    def __str__(self) -> str:
        where = f"{self.entity}.{self.field}" if self.field else self.entity
        return f"{self.rule}: {where}: {self.advice}"


def looks_secret(name: str) -> bool:
    """Whether a field's name says that its values are for few eyes."""
    return _SECRET.search(_WORDS.sub("_", name).lower()) is not None


def secrets_inside(value: Any) -> Iterator[str]:
    """The paths of what looks secret inside a value and is not hidden, past lists."""
    return (join_path(*path) for path in _secrets_inside(value))


def _secrets_inside(value: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _secrets_inside(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if looks_secret(str(key)) and not is_hidden(item):
                yield (str(key),)
            else:
                yield from ((str(key), *path) for path in _secrets_inside(item))
