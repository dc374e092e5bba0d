"""Waiting until transactions of others no longer hold up the feed of a log."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import text

__all__ = ["settle"]

_SETTLED = text(
    "SELECT coalesce(max(horizon), 0) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    " FROM lifecycle_revision"
)


def settle(store: Any) -> None:
    """Wait while PostgreSQL runs transactions, of any of its databases, older than the newest."""
    engine = getattr(store, "engine", None)
    if engine is None or engine.dialect.name != "postgresql":
        return
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.scalar(_SETTLED):
                return
        time.sleep(0.01)
    raise TimeoutError("a transaction stays open on this PostgreSQL")
