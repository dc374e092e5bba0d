"""Every error this package raises on purpose, under one base class.

::

    LifecycleError
    ├── ConfigurationError        the set-up is wrong; raised while setting up
    │   ├── InstallError          a target cannot be installed, or is installed already
    │   └── HookDefinitionError   a hook, its condition or its target cannot work
    ├── Veto                      a hook refused a write
    │   ├── Invalid               for what is wrong with its object
    │   ├── StillReferenced       what is to be deleted is referred to from another database
    │   └── UnsavedReference      what is to be written refers to what was never saved
    ├── StaleVersion              somebody else has written the object since it was loaded
    ├── MissingReference          what an object refers to in another database is not there
    ├── HookLoopError             hooks keep changing each other's objects
    ├── FrozenChangesError        a changeset was changed after it had been written
    ├── ConflictError             changes do not fit the state they are applied to
    │   └── RestoreConflict       objects cannot be put back as they are now
    ├── ForbiddenWrite            a statement past the unit of work, where that is forbidden
    ├── RecordingError            a write could not be recorded truthfully
    │   └── EncodingError         a value has no exact representation in the log
    ├── MigrationError            a stored object cannot be brought to its model's version
    ├── StoreError                the audit store cannot do what was asked
    │   ├── QuestionTooSlow       a question took longer than it was given
    │   ├── StoreUnreachable      no connection to it
    │   └── TablesMissing         it is there, its tables are not
    ├── EvidenceError             a seal cannot be made, or what it covers cannot be read
    │   └── HeldError             a legal hold forbids to erase
    └── HistoryError              a question to the history cannot be answered
        └── UnknownRevision       no such revision in the store

Each message names the object concerned, the cause and the next step. Warnings have a base of
their own: `LifecycleWarning`, with `LostAssignmentWarning`, `LostEditWarning`,
`UncountedVersionWarning` and `UnrecordedWriteWarning` below it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
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
    "Invalid",
    "LifecycleError",
    "LifecycleWarning",
    "LostAssignmentWarning",
    "LostEditWarning",
    "MigrationError",
    "MissingReference",
    "QuestionTooSlow",
    "RecordingError",
    "RestoreConflict",
    "StaleVersion",
    "StillReferenced",
    "StoreError",
    "StoreUnreachable",
    "TablesMissing",
    "UncountedVersionWarning",
    "UnknownRevision",
    "UnrecordedWriteWarning",
    "UnsavedReference",
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


class Invalid(Veto):
    """An object fails its checks.

    ``failures`` has what is wrong by field, and under ``""`` what is wrong with the whole.
    """

    def __init__(self, message: str, failures: Mapping[str, list[str]]) -> None:
        super().__init__(message)
        self.failures = failures


class StaleVersion(LifecycleError):
    """Somebody else has written the object since it was loaded, so this write was not made."""


class StillReferenced(Veto):
    """An object cannot be deleted, for others refer to it with ``on_delete="restrict"``."""


class UnsavedReference(Veto):
    """An object cannot be written, for what it refers to has no identifier yet."""


class MissingReference(LifecycleError):
    """What an object refers to in another database is not there."""


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


class MigrationError(LifecycleError):
    """A stored object cannot be brought to the version its model has; it was left untouched."""


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


class UncountedVersionWarning(LifecycleWarning):
    """A statement changed versioned objects and could not count their versions."""


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
