"""Every error this package raises on purpose, under one base class.

::

    LifecycleError
    ├── ConfigurationError        the set-up is wrong; raised while setting up
    │   ├── InstallError          a target cannot be installed, or is installed already
    │   └── HookDefinitionError   a hook, its condition or its target cannot work
    ├── Veto                      a hook refused a write
    ├── HookLoopError             hooks keep changing each other's objects
    ├── FrozenChangesError        a changeset was changed after it had been written
    ├── ConflictError             changes do not fit the state they are applied to
    │   └── RestoreConflict       objects cannot be put back as they are now
    ├── ForbiddenWrite            a statement past the unit of work, where that is forbidden
    ├── RecordingError            a write could not be recorded truthfully
    │   └── EncodingError         a value has no exact representation in the log
    ├── StoreError                the audit store cannot do what was asked
    │   ├── QuestionTooSlow       a question took longer than it was given
    │   ├── StoreUnreachable      no connection to it
    │   └── TablesMissing         it is there, its tables are not
    ├── EvidenceError             a seal cannot be made, or what it covers cannot be read
    │   └── HeldError             a legal hold forbids to erase
    └── HistoryError              a question to the history cannot be answered
        └── UnknownRevision       no such revision in the store

Each message names the object concerned, the cause and the next step. Warnings have a base of
their own: `LifecycleWarning`, with `LostAssignmentWarning`, `LostEditWarning` and
`UnrecordedWriteWarning` below it.
"""

from __future__ import annotations

import sys
import warnings
from typing import Final

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "EncodingError",
    "EvidenceError",
    "ForbiddenWrite",
    "FrozenChangesError",
    "HeldError",
    "HistoryError",
    "HookDefinitionError",
    "HookLoopError",
    "InstallError",
    "LifecycleError",
    "LifecycleWarning",
    "LostAssignmentWarning",
    "LostEditWarning",
    "QuestionTooSlow",
    "RecordingError",
    "RestoreConflict",
    "StoreError",
    "StoreUnreachable",
    "TablesMissing",
    "UnknownRevision",
    "UnrecordedWriteWarning",
    "Veto",
    "warn",
]


class LifecycleError(Exception):
    """The base of every error raised on purpose by this package."""


class ConfigurationError(LifecycleError):
    """The set-up is wrong; raised at the earliest moment that can be known."""


class InstallError(ConfigurationError):
    """A target cannot be installed or uninstalled; nothing of it was left half done."""


class HookDefinitionError(ConfigurationError):
    """A hook's signature, condition or target cannot work."""


class Veto(LifecycleError):
    """A hook refused the write; the session stays usable and its objects stay dirty."""


class HookLoopError(LifecycleError):
    """Hooks keep changing each other's objects and never come to rest."""


class FrozenChangesError(LifecycleError):
    """A changeset was to be changed after its values had been written."""


class ConflictError(LifecycleError):
    """Changes do not fit the state, or the earlier changes, they are applied to."""


class RestoreConflict(ConflictError):
    """Objects cannot be put back: something is in the way, or has changed since the preview."""


class ForbiddenWrite(LifecycleError):
    """A statement would change rows past the unit of work, which their model forbids."""


class RecordingError(LifecycleError):
    """A write could not be recorded truthfully, so it was not let through."""


class EncodingError(RecordingError):
    """A value has no exact representation in the log."""


class StoreError(LifecycleError):
    """The audit store cannot do what was asked of it."""


class QuestionTooSlow(StoreError):
    """The audit store was asked a question that took longer than it was given."""


class StoreUnreachable(StoreError):
    """No connection to the audit store could be made."""


class TablesMissing(StoreError):
    """The audit store is there, but its tables are not."""


class EvidenceError(LifecycleError):
    """A seal cannot be made or checked, or what it covers cannot be read."""


class HeldError(EvidenceError):
    """A legal hold forbids to erase what was to be erased."""


class HistoryError(LifecycleError):
    """A question to the history cannot be answered."""


class UnknownRevision(HistoryError):
    """The store holds no such revision."""


class LifecycleWarning(UserWarning):
    """The base of every warning given by this package."""


class LostAssignmentWarning(LifecycleWarning):
    """A hook assigned to an object after it had been written; the value will not be saved."""


class LostEditWarning(LifecycleWarning):
    """A document was edited in place in a way its mapper does not notice, so that was not saved."""


class UnrecordedWriteWarning(LifecycleWarning):
    """A write changed recorded objects, and the log does not have it, or not all of it."""


_LIBRARIES: Final = frozenset({"lifecycle", "sqlalchemy", "mongoengine", "pymongo", "contextlib"})


def warn(message: str, category: type[LifecycleWarning]) -> None:
    """Warn at the line of the application that led here, past all library code."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_library(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES
