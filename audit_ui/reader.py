"""Who looks at a page, and what else they may do; asked while the page is made."""

from __future__ import annotations

from typing import Any, Final

from audit_ui.access import Gate, Subject

__all__ = ["Reader", "actor_of"]

_LONGEST: Final = 255  # characters a store keeps of an actor


def actor_of(user: Any) -> str | None:
    """The id of a host's user, as its framework tells it; ``None`` for nobody."""
    if user is None or getattr(user, "is_authenticated", True) is False:
        return None
    if isinstance(user, str):
        return user[:_LONGEST]
    for name in ("username", "id", "pk", "email"):
        found = getattr(user, name, None)
        if isinstance(found, str | int):
            return str(found)[:_LONGEST]
    return str(user)[:_LONGEST]


class Reader:
    """The host's user of one request. Its methods are for worker threads only, where views run."""

    def __init__(self, gate: Gate, user: Any, page: str) -> None:
        self._gate: Final = gate
        self._page: Final = page
        self._seen: Final[dict[tuple[str, str], bool]] = {}
        self.user: Final = user

    @property
    def is_veiled(self) -> bool:
        """Whether there may be fields that this reader may not see."""
        return self._gate.field_rights

    def may(self, action: str, subject: Subject) -> bool:
        """Whether the host lets them."""
        return self._gate.admits_here(self.user, action, subject)

    def sees(self, entity: str, field: str) -> bool:
        """Whether they may see a field's values; the host is asked once for each field."""
        if not self.is_veiled:
            return True
        known = self._seen.get((entity, field))
        if known is None:
            subject = Subject(page=self._page, entity=entity, field=field)
            known = self._seen[entity, field] = self.may("view_field", subject)
        return known
