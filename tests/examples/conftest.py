"""A git repository to write commits into."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.repositories import Written


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A new, empty repository."""
    return Written(tmp_path / "repository.git")
