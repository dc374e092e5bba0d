"""What a verification finds, and what it comes to."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from lifecycle.audit.chain import Checkpoint

__all__ = ["MOST", "VERIFICATION", "Finding", "Verdict"]

VERIFICATION: Final = "lifecycle.Verification"
"""The entity under which verifications are recorded."""

MOST: Final = 1_000
"""How many findings are kept; all are counted."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is not as it was sealed.

    ``what`` is ``altered``, ``deleted``, ``inserted``, ``unreadable`` or ``chain``, and ``where``
    says it for people. ``seq`` and ``n`` are the place in the log, as far as it is known.
    """

    what: str
    where: str
    why: str
    seq: int | None = None
    n: int | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.where}: {self.why}"


class Verdict(Struct, kw_only=True):
    """What a verification saw.

    ``findings`` are the first thousand; ``found`` counts all. ``acts`` counts prunings and
    erasures, which the chain tells of and everything else agrees with.
    """

    seals: int = 0
    revisions: int = 0
    records: int = 0
    pruned: int = 0
    erased: int = 0
    acts: int = 0
    found: int = 0
    findings: list[Finding] = field(default_factory=list)
    checkpoint: Checkpoint | None = None

    @property
    def intact(self) -> bool:
        """Whether everything is as it was sealed."""
        return not self.found

    def add(self, what: str, where: str, why: str, **place: int | None) -> None:
        """Take down a finding."""
        self.found += 1
        if self.found <= MOST:
            self.findings.append(Finding(what=what, where=where, why=why, **place))
