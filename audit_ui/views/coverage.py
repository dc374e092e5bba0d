"""What is recorded, what was seen but is not in the log, and what proves that the log is whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from audit_ui.raw import plain
from audit_ui.site import Site
from lifecycle.audit.attesting import VERIFICATION
from lifecycle.audit.records import Record
from lifecycle.audit.store import Asked, Glimpse, Query
from lifecycle.errors import TablesMissing
from lifecycle.markers import ABSENT

__all__ = ["Integrity", "coverage_page"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """What is known here of the evidence: the last seal, pruning, and verification recorded.

    ``keeps`` is false for a store that keeps no evidence, and ``None`` while it lacks the tables.
    """

    keeps: bool | None
    sealed_at: datetime | None = None
    sealed_by: str | None = None
    seal: int | None = None
    pruned_at: datetime | None = None
    pruned_by: str | None = None
    pruned_why: str | None = None
    newest: Glimpse | None = None
    oldest: Glimpse | None = None
    verified: Record | None = None

    def found(self, name: str) -> Any:
        """What the last verification recorded of itself under a name, ``ABSENT`` for nothing."""
        change = None if self.verified is None else self.verified.changes.get(name)
        return getattr(change, "new", ABSENT)


def coverage_page(site: Site, request: Request) -> Response:
    """The coverage of the Lifecycle these pages were made with, and the evidence in the store."""
    found = None if site.coverage is None else site.coverage()
    proof = _integrity(site)
    return site.render(
        request,
        "coverage.html",
        json=lambda: {
            **({} if found is None else asdict(found)),
            "integrity": {
                "keeps_evidence": proof.keeps,
                "sealed_at": proof.sealed_at and proof.sealed_at.isoformat(),
                "sealed_by": proof.sealed_by,
                "seal": proof.seal,
                "verified": proof.verified and plain(proof.verified),
                "pruned_at": proof.pruned_at and proof.pruned_at.isoformat(),
                "pruned_by": proof.pruned_by,
                "pruned_why": proof.pruned_why,
            },
            "oldest": proof.oldest and proof.oldest.at.isoformat(),
            "newest": proof.newest and proof.newest.at.isoformat(),
        },
        coverage=found,
        proof=proof,
        times=0 if found is None else sum(one.times for one in found.unrecorded),
    )


def _integrity(site: Site) -> Integrity:
    """Three questions to the store."""
    newest, oldest = site.store.glimpses([Asked(Query()), Asked(Query(), newest_first=False)])
    if site.ledger is None:
        return Integrity(keeps=False, newest=newest, oldest=oldest)
    verified = next(iter(site.store.page(Query(entity=VERIFICATION), limit=1)), None)
    found = Integrity(keeps=True, newest=newest, oldest=oldest, verified=verified)
    try:
        entries = site.ledger.newest("seal", "prune")
    except TablesMissing:
        return replace(found, keeps=None)
    if (pruned := entries.get("prune")) is not None:
        at = datetime.fromisoformat(pruned.at)
        found = replace(found, pruned_at=at, pruned_by=pruned.actor, pruned_why=pruned.reason)
    if (seal := entries.get("seal")) is not None:
        at = datetime.fromisoformat(seal.at)
        found = replace(found, sealed_at=at, sealed_by=seal.actor, seal=seal.number)
    return found
