"""What of a model is recorded, and under which name: `audited` and `not_audited`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import reduce
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args, overload

from lifecycle.deltas import split_path
from lifecycle.errors import ConfigurationError, RecordingError
from lifecycle.hiding import CONTAINERS, Inside
from lifecycle.keys import LONGEST
from lifecycle.markers import MASKED

__all__ = [
    "BULK_MODES",
    "LONGEST_LABEL",
    "NO_MASKING",
    "BulkMode",
    "Masking",
    "Policy",
    "audited",
    "check_fields",
    "entity_of",
    "has_stable_name",
    "masking",
    "not_audited",
    "policy_of",
    "strictest",
]

C = TypeVar("C", bound=type)

BulkMode: TypeAlias = Literal["rows", "statement", "forbid", "off"]
"""How statements are recorded that change rows past the unit of work.

``"rows"``: every row, with its old and new values. ``"statement"``: one record that tells the
statement and the number of rows. ``"forbid"``: they raise ``ForbiddenWrite``. ``"off"``: not at
all, but they are counted.
"""

BULK_MODES: Final = get_args(BulkMode)

_STRICTEST: Final[tuple[BulkMode, ...]] = ("forbid", "rows", "statement", "off")

LONGEST_LABEL: Final = 1_000
"""The longest label, in characters: a name for people, not a value."""

_POLICY: Final = "__lifecycle_policy__"
_ENTITY: Final = "__lifecycle_entity__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a model's changes are recorded.

    ``recorded`` is ``None`` for a model that no decorator speaks of. ``label`` names a field, or is
    a function of the object, that gives the text people know the object by. ``bulk`` is ``None``
    for as the Lifecycle says. ``inside`` are paths into fields, and ``names`` patterns of names, of
    what is masked inside values.
    """

    recorded: bool | None = None
    exclude: frozenset[str] = frozenset()
    mask: frozenset[str] = frozenset()
    label: str | Callable[[Any], Any] | None = None
    bulk: BulkMode | None = None
    inside: frozenset[tuple[str, ...]] = frozenset()
    names: tuple[str, ...] = ()

    @property
    def conceals(self) -> bool:
        """Whether anything inside the values of fields may have to be hidden."""
        return bool(self.inside or self.names)

    def inside_of(self, field: str) -> Inside:
        """What is to be hidden inside the values of a field."""
        return Inside(tuple(path[1:] for path in self.inside if path[0] == field), self.names)

    def hidden(self, field: str, value: Any) -> Any:
        """A field's value as it may be recorded, of a field that is neither masked nor excluded.

        A text, or bytes, in which paths were to be hidden is hidden as a whole.
        """
        if isinstance(value, CONTAINERS):
            return self.inside_of(field).hide(value) if self.conceals else value
        if isinstance(value, str | bytes) and any(path[0] == field for path in self.inside):
            return MASKED
        return value

    def label_of(self, instance: Any) -> str | None:
        """What people call the object; ``None`` without a label, or without the object.

        A longer text is cut to `LONGEST_LABEL` characters.

        Raises ``RecordingError`` when the label cannot be made.
        """
        if self.label is None or instance is None:
            return None
        try:
            make = attrgetter(self.label) if isinstance(self.label, str) else self.label
            value = make(instance)
            text = None if value is None else str(value)
        except Exception as error:
            raise RecordingError(
                f"making it raised {type(error).__name__}; correct @audited(label=...)"
            ) from error
        if text is None or len(text) <= LONGEST_LABEL:
            return text
        return f"{text[: LONGEST_LABEL - 1]}…"


@dataclass(frozen=True, slots=True)
class Masking:
    """Fields that are masked wherever they are: by the type, or by the name.

    ``names`` are patterns such as ``*password*``; case makes no difference. They are also those of
    keys inside JSON and other maps.
    """

    types: tuple[type, ...] = ()
    names: tuple[str, ...] = ()

    def extended(self, policy: Policy, fields: Iterable[tuple[str, str, Any]]) -> Policy:
        """A policy that masks, too, what is to be masked of some fields.

        Of each field it takes the name, a name to look at, and the object that is its type.
        """
        if not self.types and not self.names:
            return policy
        found = {name for name, title, type_ in fields if self.masks(title, type_)}
        mask = policy.mask | (found - policy.exclude)
        return replace(policy, mask=mask, names=self.names)

    def masks(self, name: str, type_: Any) -> bool:
        """Whether values of that name or type are masked."""
        return isinstance(type_, self.types) or any(
            fnmatchcase(name.lower(), pattern.lower()) for pattern in self.names
        )


NO_MASKING: Final = Masking()


def masking(types: Any, names: Any) -> Masking:
    """What is masked everywhere. Raises ``ConfigurationError`` for what is no type or no name."""
    given = (types,) if isinstance(types, type) else tuple(types)
    for one in given:
        if not isinstance(one, type):
            raise ConfigurationError(
                f"mask_types holds {one!r}, which is no class: give classes of column types or "
                "document fields, such as PasswordType"
            )
    return Masking(given, tuple(sorted(_names("mask_names", names, "Lifecycle"))))


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
    bulk: BulkMode | None = None,
) -> Callable[[C], C]: ...
def audited(
    cls: Any = None,
    /,
    *,
    exclude: Iterable[str] = (),
    mask: Iterable[str] = (),
    label: str | Callable[[Any], Any] | None = None,
    entity: str | None = None,
    bulk: BulkMode | None = None,
) -> Any:
    """Say how a model is recorded; subclasses inherit it and may add to it.

    Fields in ``exclude`` are not recorded at all. Of fields in ``mask`` it is recorded that they
    changed, never a value; ``settings.token`` masks one key inside a field's JSON or embedded
    document, or in each of a list of such, and ``settings.*.token`` below every key. ``label`` is
    a field, or a function of the object, for the text people know it by, taken when it is written
    and cut to 1,000 characters. ``entity`` is the model's name in the log, such as ``shop.Order``;
    without it the log uses the class name, and renaming the class starts a new history. ``bulk``
    is a `BulkMode` for this model alone. Raises ``ConfigurationError`` for anything else.
    """
    if cls is not None:
        return _decorated(cls, Policy(recorded=True))
    masked = [tuple(split_path(path)) for path in _names("mask", mask)]
    policy = Policy(
        recorded=True,
        exclude=_names("exclude", exclude),
        mask=frozenset(path[0] for path in masked if len(path) == 1),
        inside=frozenset(path for path in masked if len(path) > 1),
        label=_label(label),
        bulk=_bulk(bulk),
    )
    name = _entity(entity)
    return lambda decorated: _decorated(decorated, policy, name)


def strictest(modes: Iterable[BulkMode]) -> BulkMode:
    """The one that goes for a statement when the models it may change have several."""
    return min(modes, key=_STRICTEST.index)


def not_audited(cls: C) -> C:
    """Keep a model, and its subclasses, out of the log."""
    decorated: C = _decorated(cls, Policy(recorded=False))
    return decorated


def _names(keyword: str, names: Any, of: str = "audited") -> frozenset[str]:
    if isinstance(names, str):
        raise ConfigurationError(
            f"{of}({keyword}={names!r}) is one text, not a set of fields: "
            f"write {keyword}={{{names!r}}}"
        )
    found = tuple(names) if isinstance(names, Iterable) else (names,)
    for name in found:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f"{of}({keyword}=...) holds {name!r}, which is no field name: "
                "name the fields as text"
            )
    return frozenset(found)


def _label(label: Any) -> Any:
    if label is None or callable(label) or (isinstance(label, str) and label):
        return label
    raise ConfigurationError(
        f"audited(label={label!r}): give the name of a field, or a function of the object"
    )


def _bulk(bulk: Any) -> Any:
    if bulk is None or bulk in BULK_MODES:
        return bulk
    raise ConfigurationError(f"audited(bulk={bulk!r}) is not known: use {', '.join(BULK_MODES)}")


def _entity(entity: Any) -> str | None:
    if entity is None or (isinstance(entity, str) and 0 < len(entity) <= LONGEST):
        return entity
    raise ConfigurationError(
        f"audited(entity={entity!r}): give a name of 1 to {LONGEST} characters, like 'shop.Order'"
    )


def _decorated(cls: Any, policy: Policy, entity: str | None = None) -> Any:
    if not isinstance(cls, type):
        raise ConfigurationError(
            f"{'audited' if policy.recorded else 'not_audited'} decorates model classes, "
            f"not {cls!r}: put it directly above the class"
        )
    setattr(cls, _POLICY, _joined(policy, vars(cls).get(_POLICY, _SILENT)))
    if entity is not None:
        setattr(cls, _ENTITY, entity)
    return cls


def _joined(nearer: Policy, farther: Policy) -> Policy:
    """Both: fields add up, else the nearer one counts where it says something."""
    return Policy(
        recorded=farther.recorded if nearer.recorded is None else nearer.recorded,
        exclude=nearer.exclude | farther.exclude,
        mask=nearer.mask | farther.mask,
        inside=nearer.inside | farther.inside,
        label=farther.label if nearer.label is None else nearer.label,
        bulk=farther.bulk if nearer.bulk is None else nearer.bulk,
    )


def policy_of(cls: type) -> Policy:
    """The policy a class has, with what it inherits from every one of its bases."""
    declared: Iterator[Policy] = (vars(base).get(_POLICY, _SILENT) for base in cls.__mro__)
    return reduce(_joined, declared)


def entity_of(cls: type) -> str:
    """The model's name in the log: its own ``entity=``, not an inherited one, or its class name."""
    name: str = vars(cls).get(_ENTITY, cls.__name__)
    return name


def has_stable_name(cls: type) -> bool:
    """Whether the model's name in the log is its own, and not that of the class."""
    return _ENTITY in vars(cls)


def check_fields(cls: type, policy: Policy, fields: Collection[str]) -> None:
    """Raise ``ConfigurationError`` when the policy names a field the model does not have.

    And when its label is nothing it has, or a field whose values are to be hidden: a label is
    stored as it is.
    """
    inside = {path[0] for path in policy.inside}
    named: dict[str, Iterable[str]] = {"exclude": policy.exclude, "mask": policy.mask | inside}
    for keyword, names in named.items():
        unknown = sorted(set(names).difference(fields))
        if unknown:
            raise ConfigurationError(
                f"audited({keyword}=...) of {cls.__qualname__} names {', '.join(unknown)}, which "
                f"it does not have; its fields are {', '.join(sorted(fields))}"
            )
    label = policy.label.partition(".")[0] if isinstance(policy.label, str) else None
    if label is not None and label not in fields and not hasattr(cls, label):
        raise ConfigurationError(
            f"audited(label={policy.label!r}) of {cls.__qualname__} names what it does not have; "
            f"its fields are {', '.join(sorted(fields))}"
        )
    if isinstance(policy.label, str) and policy.label in policy.exclude | policy.mask | inside:
        raise ConfigurationError(
            f"audited(label={policy.label!r}) of {cls.__qualname__} would store the values of a "
            "field that is excluded or masked: choose another label"
        )
