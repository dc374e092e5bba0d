"""What a mapper has written: the link between capturing a change and recording it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from lifecycle.changes import ChangeSet
from lifecycle.policy import Policy

__all__ = ["CASCADE", "OF_THE_LOG", "ROWS", "STATEMENT", "VERB", "Written"]

CASCADE: Final = "cascade"
"""The cause of what a foreign key, or a delete rule of mongoengine, did to other objects."""

VERB: Final = "$verb"
STATEMENT: Final = "$statement"
ROWS: Final = "$rows"
"""What a statement recorded as a whole did, its text without values, and how many it hit."""

OF_THE_LOG: Final = "lifecycle_of_the_log"
"""An execution option of statements that write the log itself, of which it has nothing to tell."""


class Written(Struct):
    """One object's changes as its database now holds them, not yet recorded.

    Values are as they go to the log: of types the codec knows. ``former_key`` is set when the
    change moved the object to another key. ``error`` is what cannot be told of it, and why.
    ``cause`` is ``None`` for what was asked for, else `CASCADE`.
    """

    entity: str
    key: str
    changes: ChangeSet
    policy: Policy
    former_key: str | None = None
    label: str | None = None
    error: str | None = None
    cause: str | None = None
