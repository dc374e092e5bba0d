"""`slug`: a name for addresses, made from other fields, that no other object has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar
from uuid import uuid4

from lifecycle.behaviours.stamping import LAST
from lifecycle.bundles import Behaviour, declare
from lifecycle.changes import Operation
from lifecycle.errors import ConfigurationError
from lifecycle.hooks import pre_persist, pre_update

__all__ = ["slug", "slugged"]

C = TypeVar("C", bound=type)

_TRIES: Final = 20
"""How many numbers are tried before something random is taken."""


def slugged(text: str) -> str:
    """Text as part of an address: lower case letters and digits, joined by single hyphens.

    Marks on letters go; letters that have no plain form, as those of other scripts, stay.
    """
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    plain = "".join(one for one in plain if not unicodedata.combining(one))
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", plain).lower()).strip("-")


def slug(
    field: str,
    *,
    of: str | tuple[str, ...],
    follow: bool = False,
    longest: int = 80,
    make: Callable[[str], str] = slugged,
) -> Callable[[C], C]:
    """Give a text field a slug of other fields, unique among all objects of the model.

    It is made when an object without one is written, and stays as it is, for addresses are to
    last; with ``follow`` it is made anew whenever one of the fields changes. One that is taken gets
    a number, ``-2`` and so on, after twenty of them something random. A slug set by hand stays.
    ``longest`` is its length at most. ``make`` turns the values, joined by spaces, into a slug; a
    function such as ``anyascii`` may go before `slugged` in it for other scripts.

    To find a free one costs a query for each slug that is tried. Two writers may still try the same
    at once, so give the field a unique constraint, and the second of them gets its error. What
    is marked by `soft_delete` keeps its slug. Bulk statements make none. Raises
    ``ConfigurationError`` for a field the model does not have.
    """
    sources = of if isinstance(of, tuple) else (of,)
    if not of or not all(isinstance(name, str) for name in (field, *sources)) or longest < 16:
        raise ConfigurationError(
            f"@slug({field!r}, of={of!r}, longest={longest!r}): name a field, at least one to make "
            "it of, and a length of 16 characters or more"
        )

    @pre_persist(priority=LAST)
    @pre_update(priority=LAST)
    def name(self: Any, event: Any) -> None:
        changes, given = event.changes, getattr(self, field)
        changed = any(map(changes.touches, sources))
        by_hand = changes.touches(field) and given
        if by_hand or (given and not (follow and changed and event.operation is Operation.UPDATE)):
            return
        parts = (getattr(self, source) for source in sources)
        text = " ".join(str(part) for part in parts if part is not None)
        for candidate in _candidates(make(text)[:longest].strip("-") or "n", longest):
            if candidate == given or not changes.is_taken(field, candidate):
                changes.set(field, candidate)
                return

    options = {"field": field, "of": of, "follow": follow}
    behaviour = Behaviour("slug", field, options, frozenset({field, *sources}))

    def decorator(cls: C) -> C:
        declare(cls, behaviour, [name])
        return cls

    return decorator


def _candidates(base: str, longest: int) -> Iterator[str]:
    yield base
    for number in range(2, _TRIES + 1):
        yield f"{base[: longest - 3].strip('-')}-{number}"
    while True:
        yield f"{base[: longest - 9].strip('-')}-{uuid4().hex[:8]}"
