"""Paths as text: git's are bytes, and need not be in any encoding."""

from __future__ import annotations

import re

_ESCAPES = {
    b"\a": b"\\a",
    b"\b": b"\\b",
    b"\t": b"\\t",
    b"\n": b"\\n",
    b"\v": b"\\v",
    b"\f": b"\\f",
    b"\r": b"\\r",
    b'"': b'\\"',
    b"\\": b"\\\\",
}
_UNESCAPES = {escape: raw for raw, escape in _ESCAPES.items()}


def path_text(raw: bytes) -> str:
    """A path as text, and never two paths as the same text.

    A path that is UTF-8 is shown as it is. Any other is quoted as git does under
    ``core.quotePath``, and so is one that starts with a quotation mark, which would look quoted.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return _quoted(raw)
    return _quoted(raw) if text.startswith('"') else text


def path_bytes(text: str) -> bytes:
    """The path that `path_text` showed."""
    if not text.startswith('"'):
        return text.encode("utf-8")
    return re.sub(rb"\\([0-7]{3}|.)", _unescaped, text[1:-1].encode("ascii"))


def _quoted(raw: bytes) -> str:
    escaped = re.sub(rb"[^ !#-\[\]-~]", lambda match: _escape(match[0]), raw)
    return f'"{escaped.decode("ascii")}"'


def _escape(byte: bytes) -> bytes:
    return _ESCAPES.get(byte) or b"\\%03o" % byte[0]


def _unescaped(match: re.Match[bytes]) -> bytes:
    return _UNESCAPES.get(match[0]) or bytes([int(match[1], 8)])
