"""Lifecycle hooks and an audit trail for SQLAlchemy and mongoengine.

Importing this imports neither: each adapter is loaded when something of its library is installed.
"""

from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.conditions import any_of
from lifecycle.context import acting
from lifecycle.errors import LifecycleError, Veto
from lifecycle.hooks import (
    post_persist,
    post_remove,
    post_update,
    pre_persist,
    pre_remove,
    pre_update,
)
from lifecycle.markers import ABSENT, MASKED, UNKNOWN
from lifecycle.plugin import Lifecycle
from lifecycle.policy import audited, not_audited

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "MASKED",
    "UNKNOWN",
    "Change",
    "ChangeSet",
    "Lifecycle",
    "LifecycleError",
    "Operation",
    "Veto",
    "acting",
    "any_of",
    "audited",
    "not_audited",
    "post_persist",
    "post_remove",
    "post_update",
    "pre_persist",
    "pre_remove",
    "pre_update",
]
