"""The style sheet, the script and the icon: read once, addressed by their content."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

__all__ = ["ASSETS", "Asset"]

_TYPES: Final = {
    "pages.css": "text/css; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    content: bytes
    digest: str
    type: str


def _load(name: str, type: str) -> Asset:
    content = (files("audit_ui") / "static" / name).read_bytes()
    return Asset(content, sha256(content).hexdigest()[:16], type)


ASSETS: Final = {name: _load(name, type) for name, type in _TYPES.items()}
"""Every asset by its name."""
