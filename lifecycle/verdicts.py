"""What became of a write that was announced, and perhaps never made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Answer", "Verdict"]


class Answer(Enum):
    """What became of an intent."""

    HAPPENED = "confirmed"
    """The change was made: it is recorded now."""
    DID_NOT = "removed"
    """It was not made: the intent is gone."""
    RECORDED = "recorded already"
    """The record is there: the intent is gone."""
    UNCLEAR = "unclear"
    """Nobody can tell: the intent stays."""
    PENDING = "pending"
    """It is so young that it may be under way: the intent stays."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a change has been made, and why that cannot be told."""

    answer: Answer
    why: str | None = None

    @classmethod
    def happened(cls) -> Verdict:
        """It has been made."""
        return cls(Answer.HAPPENED)

    @classmethod
    def did_not(cls) -> Verdict:
        """It has not been made."""
        return cls(Answer.DID_NOT)

    @classmethod
    def unclear(cls, why: str) -> Verdict:
        """It cannot be told."""
        return cls(Answer.UNCLEAR, why)
