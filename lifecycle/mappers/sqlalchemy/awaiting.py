"""Running async hooks from inside SQLAlchemy, which is synchronous at heart."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import Any

from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from lifecycle.dispatch import refuse_async
from lifecycle.hooks import Hook

__all__ = ["await_hook"]


def await_hook(coroutine: Coroutine[Any, Any, Any], hook: Hook) -> None:
    """Await a hook's coroutine in the task that uses the ``AsyncSession``.

    Raises ``HookDefinitionError`` under a plain session, where there is no such task.
    """
    # Without greenlet there is no AsyncSession either, and SQLAlchemy cannot even be asked.
    if not sys.modules.get("greenlet") or not in_greenlet():
        refuse_async(coroutine, hook)
    await_only(coroutine)
