"""What becomes of what goes wrong while a record is made: the policy ``on_error``.

A fault is a part of a record that cannot be told, such as a field, with its cause. Faults are
looked for only once making the record has failed, so that sound ones cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from lifecycle.coverage import Gaps
from lifecycle.errors import LifecycleError, RecordingError, UnrecordedWriteWarning, warn
from lifecycle.markers import ABSENT, UNKNOWN
from lifecycle.policy import Policy

__all__ = [
    "ON_ERROR",
    "Faults",
    "Found",
    "OnError",
    "attempted",
    "attempted_label",
    "cause_of",
    "field_named",
    "unknown",
]

OnError: TypeAlias = Literal["fail", "report"]
"""Whether a change that cannot be recorded in full fails, or passes with a record that says so."""

ON_ERROR: Final = get_args(OnError)

Found: TypeAlias = Mapping[str, str]
"""The parts of a record that cannot be told, and why; no text of it repeats a value."""

T = TypeVar("T")


def field_named(name: str) -> str:
    """A field as a part of a record."""
    return f"field {name!r}"


def cause_of(error: BaseException) -> str:
    """What to say of an error without its text, which may quote a value, unless it is our own."""
    if isinstance(error, LifecycleError):
        return str(error)
    inner = getattr(error, "orig", None) or error  # what SQLAlchemy's errors wrap
    return f"{type(inner).__name__} was raised"


def unknown(value: object) -> object:
    """What stands for a value that cannot be told; that there was none still can."""
    return ABSENT if value is ABSENT else UNKNOWN


class Faults:
    """Raises or reports what was found, as one Lifecycle wants it."""

    def __init__(self, on_error: OnError = "fail", gaps: Gaps | None = None) -> None:
        self.on_error: Final = on_error
        self._gaps: Final = Gaps() if gaps is None else gaps

    @property
    def reported(self) -> bool:
        """Whether the change passes."""
        return self.on_error == "report"

    def settle(self, entity: str, key: str, found: Found) -> str | None:
        """What the record of an object has to say of its faults; ``None`` when there are none.

        Raises ``RecordingError`` when the change is to fail; otherwise each shape of fault is
        counted, and warned of once.
        """
        if not found:
            return None
        told = "; ".join(f"{part} cannot be recorded: {why}" for part, why in found.items())
        if not self.reported:
            raise RecordingError(
                f"{entity} {key}: {told}. To let such changes pass with a record that tells the "
                'error instead, use Lifecycle(on_error="report")'
            ) from None  # what it comes from may quote the value
        for part, why in found.items():
            if self._gaps.note([entity], part, why):
                warn(
                    f"{entity} {key} is recorded, but {part} is not: {why}. lifecycle.coverage() "
                    "counts such records, and each tells its error; each kind is warned of once",
                    UnrecordedWriteWarning,
                )
        return told


def attempted(found: dict[str, str], part: str, make: Callable[[], T], instead: T) -> T:
    """What is made, or, with the fault noted, what stands for it."""
    try:
        return make()
    except Exception as error:
        found[part] = cause_of(error)
        return instead


def attempted_label(found: dict[str, str], policy: Policy, instance: Any) -> str | None:
    """What people call an object; none, with the fault noted, when that cannot be made."""
    return attempted(found, "label", lambda: policy.label_of(instance), instead=None)
