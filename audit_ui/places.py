"""Places in the log as an address names them: positions, records and revisions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from audit_ui.languages import gettext_noop
from lifecycle.audit.records import Position
from lifecycle.restoring import Said

__all__ = ["Cursor", "mentioned", "place_text", "read_record_id", "read_uuid"]


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: with what is older than a position, or newer; else at the newest."""

    older_than: Position | None = None
    newer_than: Position | None = None

    @classmethod
    def of(cls, params: Mapping[str, str]) -> Cursor:
        """The cursor in an address. Raises `Mistake` when it is damaged."""
        return cls(
            *(
                _position(params[name]) if params.get(name) else None
                for name in ("older_than", "newer_than")
            )
        )

    def params(self) -> dict[str, str]:
        """The cursor as parameters of a link."""
        names = {"older_than": self.older_than, "newer_than": self.newer_than}
        return {name: text for name, place in names.items() if (text := place_text(place))}

    def __bool__(self) -> bool:
        return self.older_than is not None or self.newer_than is not None


def place_text(position: Position | None) -> str | None:
    """A position as addresses have it."""
    return None if position is None else f"{position.seq}.{position.n}"


def _position(text: str) -> Position:
    match = re.fullmatch(r"([0-9]{1,18})\.([0-9]{1,9})", text)
    if match is None:
        raise Mistake(
            400,
            _("%(text)s is no place in the history", text=repr(text)),
            _("The address was damaged on its way. Start again at the newest records."),
        )
    return Position(int(match[1]), int(match[2]))


_RECORD_ID: Final = re.compile(r"([0-9a-fA-F-]{32,36})\.([0-9]{1,9})")


def read_uuid(text: str, what: str = gettext_noop("revision")) -> UUID:
    """The id of a revision, or a group. Raises `Mistake` when it is none."""
    try:
        return UUID(text)
    except ValueError:
        raise _no_id(text, what, "01936d5e-7c4a-7b61-9d43-0c5f2f6a8e11") from None


def read_record_id(text: str) -> tuple[UUID, int]:
    """A record's revision and its number there. Raises `Mistake` when it is no record's id."""
    match = _RECORD_ID.fullmatch(text)
    try:
        if match is not None:
            return UUID(match[1]), int(match[2])
    except ValueError:
        pass  # told below, as for a text of any other form
    raise _no_id(text, gettext_noop("record"), "01936d5e-7c4a-7b61-9d43-0c5f2f6a8e11.0")


def mentioned(message: str) -> str:
    """The id of the record that a sentence names as where something happened; else empty."""
    for name, value in message.values.items() if isinstance(message, Said) else ():
        if name == "record":
            return str(value)
        if isinstance(value, Said) and (found := mentioned(value)):
            return found
    return ""


def _no_id(text: str, what: str, example: str) -> Mistake:
    return Mistake(
        404,
        _("%(text)s is no %(what)s id", text=repr(text), what=_(what)),
        _(
            "A %(what)s id looks like %(example)s. Check the address, "
            "or look for the %(what)s in the feed.",
            what=_(what),
            example=example,
        ),
    )
