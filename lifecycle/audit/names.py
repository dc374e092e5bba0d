"""What models, their objects and their fields are called, and what to say of a name nothing has."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any, Final, Protocol

from lifecycle.keys import key_text
from lifecycle.relations import Relation

__all__ = ["Names", "instead_of", "literal_key"]

_NAMED: Final = 20  # at most


class Names(Protocol):
    """Knows the registered names of models and the keys of their objects."""

    def entity(self, model: type | str) -> str:
        """The registered name of a model class, or of a name itself."""
        ...

    def key(self, model: type | str, identity: Any) -> str:
        """The text of an identity of a model."""
        ...

    def subject(self, instance: Any) -> tuple[str, str]:
        """An object's entity and key."""
        ...

    def entities(self) -> Iterable[str]:
        """The registered names of every model there is, whether it has been used or not."""
        ...

    def fields(self, entity: str) -> Collection[str]:
        """The fields of a model and of those that inherit from it; none where it is not known."""
        ...

    def relation(self, entity: str, name: str) -> Relation:
        """A relationship of a model. Raises ``HistoryError`` when it has none of that name."""
        ...


def literal_key(identity: Any) -> str:
    """The key of an identity of a model that is known by name only."""
    if isinstance(identity, str):
        return identity
    return key_text(identity if isinstance(identity, tuple) else (identity,))


def instead_of(name: str, known: Iterable[str]) -> str:
    """Advice on a name that is not among those known: the nearest ones, or else what there is."""
    names = sorted(known)
    close = " or ".join(get_close_matches(name, names))
    if close:
        return f"did you mean {close}?"
    return f"there are {', '.join(names[:_NAMED]) or 'none at all'}" + (
        ", …" if len(names) > _NAMED else ""
    )
