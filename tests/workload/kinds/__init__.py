"""All kinds of steps."""

from __future__ import annotations

from collections.abc import Collection

from tests.workload.kinds import bulk, cascades, collections, control, core, relations, rows
from tests.workload.steps import ALL, Kind

__all__ = ["ALL", "MODULES", "enabled"]

MODULES = (bulk, cascades, collections, control, core, relations, rows)
"""Importing them has registered their kinds."""


def enabled(off: Collection[str]) -> dict[str, Kind]:
    """The kinds of steps that do not need any of these."""
    return {name: kind for name, kind in ALL.items() if kind.needs not in off}
