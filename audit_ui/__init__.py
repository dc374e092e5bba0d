"""The history pages: who changed this, when, and what it was before.

Mount them into the application there is::

    app.mount("/audit", audit_ui.create_app(lifecycle, access=only_admins))
"""

try:
    from audit_ui.app import create_app
    from audit_ui.embedding import Embedded
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"anyio", "jinja2", "starlette"}:
        raise
    raise ModuleNotFoundError(
        f"the history pages need {error.name}, which is not installed; "
        "run: pip install 'lifecycle-audit[ui]'",
        name=error.name,
    ) from error

from audit_ui.access import Subject

__all__ = ["Embedded", "Subject", "create_app"]
