"""Running async hooks from inside SQLAlchemy, which is synchronous at heart."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.util import await_only

from lifecycle.dispatch import refuse_async
from lifecycle.hooks import Hook

__all__ = ["await_hook"]


def await_hook(coroutine: Coroutine[Any, Any, Any], hook: Hook) -> None:
    """Await a hook's coroutine in the task that uses the ``AsyncSession``.

    Raises ``HookDefinitionError`` under a plain session, where there is no such task.
    """
    try:
        await_only(coroutine)
    except MissingGreenlet:
        refuse_async(coroutine, hook)
