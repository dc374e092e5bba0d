"""Importing the pages: what they need is said when it is missing, and never more than that."""

from __future__ import annotations

import subprocess
import sys

import pytest


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("missing", ["starlette", "jinja2"])
def test_a_missing_dependency_names_the_extra(missing: str) -> None:
    """The error says what is missing and the command that installs it."""
    result = python(f"import sys; sys.modules[{missing!r}] = None; import audit_ui")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert missing in last
    assert "pip install 'lifecycle-audit[ui]'" in last


def test_other_import_errors_are_not_disguised() -> None:
    """A fault inside the package is reported as it is."""
    result = python("import sys; sys.modules['lifecycle.codec'] = None; import audit_ui")
    assert result.returncode == 1
    assert "pip install" not in result.stderr


def test_the_pages_import_no_mapper_and_no_driver() -> None:
    """Whoever mounts the pages loads no database library for it."""
    result = python(
        "import sys, audit_ui\n"
        "print([n for n in ('sqlalchemy', 'mongoengine', 'pymongo', 'bson') if n in sys.modules])"
    )
    assert result.stderr == ""
    assert result.stdout.strip() == "[]"
