"""What a mapper has written: the link between capturing a change and recording it."""

from __future__ import annotations

from dataclasses import dataclass

from lifecycle.changes import ChangeSet
from lifecycle.policy import Policy

__all__ = ["Written"]


@dataclass(slots=True)
class Written:
    """One object's changes as its database now holds them, not yet recorded.

    Values are as they go to the log: of types the codec knows. ``former_key`` is set when the
    change moved the object to another key.
    """

    entity: str
    key: str
    changes: ChangeSet
    policy: Policy
    former_key: str | None = None
    label: str | None = None
