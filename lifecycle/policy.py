"""What of a model is recorded, and under which name: `audited` and `not_audited`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, overload

from lifecycle.errors import ConfigurationError

__all__ = ["Policy", "audited", "check_fields", "entity_of", "not_audited", "policy_of"]

C = TypeVar("C", bound=type)

_POLICY: Final = "__lifecycle_policy__"
_ENTITY: Final = "__lifecycle_entity__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a model's changes are recorded.

    ``recorded`` is ``None`` for a model that no decorator speaks of. ``label`` names a field, or is
    a function of the object, that gives the text people know the object by.
    """

    recorded: bool | None = None
    exclude: frozenset[str] = frozenset()
    mask: frozenset[str] = frozenset()
    label: str | Callable[[Any], Any] | None = None


_SILENT: Final = Policy()


@overload
def audited(cls: C, /) -> C: ...
@overload
def audited(
    *,
    exclude: Iterable[str] = (),
    mask: Iterable[str] = (),
    label: str | Callable[[Any], Any] | None = None,
    entity: str | None = None,
) -> Callable[[C], C]: ...
def audited(
    cls: Any = None,
    /,
    *,
    exclude: Iterable[str] = (),
    mask: Iterable[str] = (),
    label: str | Callable[[Any], Any] | None = None,
    entity: str | None = None,
) -> Any:
    """Say how a model is recorded; subclasses inherit it and may add to it.

    Fields in ``exclude`` are not recorded at all. Of fields in ``mask`` it is recorded that they
    changed, never a value. ``label`` is a field, or a function of the object, for the text people
    know it by, taken when it is written. ``entity`` is the model's name in the log, such as
    ``shop.Order``; without it the log uses the class name, and renaming the class starts a new
    history. Raises ``ConfigurationError`` for anything else.
    """
    if cls is not None:
        return _decorated(cls, audited=True)
    for name, value in (("exclude", exclude), ("mask", mask)):
        if isinstance(value, str):
            raise ConfigurationError(
                f"audited({name}={value!r}) is one text, not a set of fields: "
                f"write {name}={{{value!r}}}"
            )
    return lambda decorated: _decorated(
        decorated,
        audited=True,
        exclude=frozenset(exclude),
        mask=frozenset(mask),
        label=label,
        entity=entity,
    )


def not_audited(cls: C) -> C:
    """Keep a model, and its subclasses, out of the log."""
    decorated: C = _decorated(cls, audited=False)
    return decorated


def _decorated(
    cls: Any,
    *,
    audited: bool,
    exclude: frozenset[str] = frozenset(),
    mask: frozenset[str] = frozenset(),
    label: str | Callable[[Any], Any] | None = None,
    entity: str | None = None,
) -> Any:
    if not isinstance(cls, type):
        raise ConfigurationError(
            f"{'audited' if audited else 'not_audited'} decorates model classes, not {cls!r}"
        )
    inherited = policy_of(cls)
    policy = replace(
        inherited,
        recorded=audited,
        exclude=inherited.exclude | exclude,
        mask=inherited.mask | mask,
        label=inherited.label if label is None else label,
    )
    setattr(cls, _POLICY, policy)
    if entity is not None:
        setattr(cls, _ENTITY, entity)
    return cls


def policy_of(cls: type) -> Policy:
    """The policy a class has or inherits."""
    policy: Policy = getattr(cls, _POLICY, _SILENT)
    return policy


def entity_of(cls: type) -> str:
    """The model's name in the log: its own ``entity=``, not an inherited one, or its class name."""
    name: str = vars(cls).get(_ENTITY, cls.__name__)
    return name


def check_fields(cls: type, policy: Policy, fields: Collection[str]) -> None:
    """Raise ``ConfigurationError`` when the policy names a field the model does not have."""
    named: dict[str, Iterable[str]] = {"exclude": policy.exclude, "mask": policy.mask}
    for keyword, names in named.items():
        unknown = sorted(set(names).difference(fields))
        if unknown:
            raise ConfigurationError(
                f"audited({keyword}=...) of {cls.__qualname__} names {', '.join(unknown)}, which "
                f"it does not have; its fields are {', '.join(sorted(fields))}"
            )
