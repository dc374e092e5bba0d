"""What a form sends: its fields, read with a limit."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _

__all__ = ["Fields", "read_body", "read_fields"]

Fields = list[tuple[str, str]]
"""Names and values, in the order in which they were sent."""

_LARGEST: Final = 1_000_000  # bytes of a form


async def read_body(request: Request) -> bytes:
    """The form that was sent. Raises `Mistake` for anything else, and for one too large."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Mistake(415, _("This is no form"), _("Nothing was done. Use the form on the page."))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise Mistake(
                413, _("This form is too large"), _("Nothing was done. Choose less at once.")
            )
    return bytes(body)


def read_fields(body: bytes) -> Fields:
    """The fields of a form. Raises `Mistake` when it is damaged."""
    try:
        return parse_qsl(body.decode("ascii"), errors="replace", max_num_fields=50_000)
    except ValueError:
        raise Mistake(
            400, _("This form is damaged"), _("Nothing was done. Go back and send it again.")
        ) from None
