"""Lifecycle hooks and an audit trail for SQLAlchemy and mongoengine.

Importing this imports neither: each adapter is loaded when something of its library is installed.
"""

from lifecycle.behaviours import blame, soft_delete, timestamps
from lifecycle.behaviours.lazy_migration import lazy_migration, migrates
from lifecycle.behaviours.references import ReferenceMany, ReferenceOne
from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.conditions import any_of
from lifecycle.context import acting
from lifecycle.errors import LifecycleError, Veto
from lifecycle.hooks import (
    load_class_metadata,
    on_flush,
    post_commit,
    post_flush,
    post_load,
    post_persist,
    post_remove,
    post_rollback,
    post_update,
    pre_flush,
    pre_load,
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
    "ReferenceMany",
    "ReferenceOne",
    "Veto",
    "acting",
    "any_of",
    "audited",
    "blame",
    "lazy_migration",
    "load_class_metadata",
    "migrates",
    "not_audited",
    "on_flush",
    "post_commit",
    "post_flush",
    "post_load",
    "post_persist",
    "post_remove",
    "post_rollback",
    "post_update",
    "pre_flush",
    "pre_load",
    "pre_persist",
    "pre_remove",
    "pre_update",
    "soft_delete",
    "timestamps",
]
