"""What to say of a name that nothing has."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

__all__ = ["instead_of"]

_NAMED: Final = 20  # at most


def instead_of(name: str, known: Iterable[str]) -> str:
    """Advice on a name that is not among those known: the nearest ones, or else what there is."""
    names = sorted(known)
    close = " or ".join(get_close_matches(name, names))
    if close:
        return f"did you mean {close}?"
    return f"there are {', '.join(names[:_NAMED]) or 'none at all'}" + (
        ", …" if len(names) > _NAMED else ""
    )
