"""Questions the pages cannot answer; each becomes a page that says what is wrong and what next."""

from __future__ import annotations

__all__ = ["Mistake"]


class Mistake(Exception):
    """The request cannot be answered: its status, what is wrong, and how to go on."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(f"{title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
