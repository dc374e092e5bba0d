"""Proof, for one Lifecycle: its log is as it was written, and tells all of its database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lifecycle.audit.attesting import attest
from lifecycle.audit.chain import Checkpoint
from lifecycle.audit.comparing import Comparison, Live, compare
from lifecycle.audit.progress import Progress, nobody
from lifecycle.audit.sealing import Sealed, seal
from lifecycle.audit.store import AuditStore
from lifecycle.audit.verifying import Verdict, verify

__all__ = ["Evidence"]


class Evidence:
    """Proof that the log of one Lifecycle is as it was written, and all of it."""

    def __init__(
        self, store: Callable[[], AuditStore], live: Callable[[Any], Iterable[Live]]
    ) -> None:
        self._store = store
        self._live = live

    def seal(self, *, key: str | bytes | None = None, progress: Progress = nobody) -> Sealed:
        """Seal what was recorded since the last time; see `lifecycle.audit.sealing.seal`."""
        return seal(self._store(), key=key, progress=progress)

    def verify(
        self,
        *,
        checkpoints: Iterable[Checkpoint] = (),
        trusted: Iterable[str] = (),
        record: bool = False,
        progress: Progress = nobody,
    ) -> Verdict:
        """Compare what was sealed with what is there; see `lifecycle.audit.verifying.verify`.

        With ``record`` the log is told that it was verified, by whom, and what was found.
        """
        store = self._store()
        verdict = verify(store, checkpoints=checkpoints, trusted=trusted, progress=progress)
        if record:
            attest(store, verdict)
        return verdict

    def compare(
        self, engine: Any = None, *, record: bool = False, progress: Progress = nobody
    ) -> Comparison:
        """Compare the log with the tables and documents it tells of.

        ``engine`` is the SQL database of the data, by default the one of the log. See
        `lifecycle.audit.comparing.compare`.
        """
        store = self._store()
        return compare(store, self._live(engine), record=record, progress=progress)
