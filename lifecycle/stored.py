"""An object as its database holds it, for hooks that make something else of it in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

__all__ = ["Held", "Stock", "Stored"]


class Stored(Protocol):
    """One object's row or document, past what hooks have made of it on its way into memory.

    Values are as hooks at ``pre_load`` see them: of Python types from SQLAlchemy, BSON from
    mongoengine. Fields have the names of their attributes; what the model has no field for has the
    name the database gives it.
    """

    @property
    def noted(self) -> Any:
        """What a hook has noted about the object since it was last filled; ``None`` for nothing.

        It goes with the object, and is gone when the object is filled anew. ``UNKNOWN`` where
        nobody knows what the database holds, as of a copy.
        """
        ...

    @noted.setter
    def noted(self, note: Any) -> None: ...

    def named(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The data of ``pre_load`` by the names of attributes."""
        ...

    def unnamed(self, name: str) -> str:
        """The name that a field has in the data of ``pre_load``."""
        ...

    def read(self, also: Collection[str] = ()) -> dict[str, Any] | None:
        """Ask the database for every field, with one query; ``None`` when the object is gone.

        ``also`` are columns of its table that the model does not map; of a document there is
        everything anyway. Raises what the driver raises, as for a column that is not there.
        """
        ...

    def rewrite(
        self, values: Mapping[str, Any], gone: Collection[str], *, field: str, was: Any
    ) -> bool:
        """Have fields written, though memory has these values already, and others taken away.

        Not when ``field`` is no longer ``was`` in the database: somebody else has done it then, and
        it returns ``False``. A row's columns go along with the UPDATE that is under way, and the
        row is locked until then; after a load they go with the next flush. A document is written
        right here, by one update that looks at ``field`` itself. It is recorded with the cause
        ``migration``.
        """
        ...


class Held(NamedTuple):
    """An object that was loaded, how it is stored, and its identity as the database orders them."""

    instance: Any
    key: str
    stored: Stored
    identity: Any


class Stock(Protocol):
    """All objects of one class, and of those that inherit from it, as they are stored."""

    def is_here(self) -> bool:
        """Whether they are in the database at hand, and there is a way to load them."""
        ...

    def counts(self, field: str) -> dict[Any, int]:
        """How many objects have each value of a field; ``None`` stands for none."""
        ...

    def below(
        self, field: str, limit: Any, *, after: Any, count: int, keep: bool
    ) -> AbstractContextManager[Sequence[Held]]:
        """Load the first objects whose field is less than a limit, or is not there.

        In the order of their identities, which come ``after`` the one given. What is done to them
        in the block is committed at its end; unless it is to ``keep``, nothing is.
        """
        ...
