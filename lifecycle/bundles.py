"""Bundles of hooks declared on a model at once: what every behaviour is made of.

A behaviour puts marked functions on the model, as if they had been written in its class body, so
every Lifecycle that is installed finds them and subclasses inherit them. Beside them it leaves a
`Behaviour`, which tells what was declared. A model without any has nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from lifecycle.changes import ChangeSet, split_path
from lifecycle.errors import ConfigurationError, Veto
from lifecycle.hooks import marks_of

__all__ = ["Behaviour", "Fill", "behaviours_of", "check_behaviours", "declare", "filled", "fitted"]

Fill: TypeAlias = Callable[[ChangeSet], Mapping[str, Any]]
"""Gives the fields that are to be set besides, with what `ChangeSet.fill` takes."""

_DECLARED: Final = "__lifecycle_behaviours__"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one behaviour does to one part of a model.

    ``name`` is that of its decorator. ``of`` is what it is about, or empty where it is about the
    whole object; a subclass that declares the same again takes its place. ``options`` are for
    people to read, and ``fields`` those that the model must have, or paths that begin with one.
    ``fill`` tells what a statement that makes these changes has to set besides, for no hook runs
    for statements.
    """

    name: str
    of: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    fields: frozenset[str] = frozenset()
    fill: Fill | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        told = [f"{name}={value!r}" for name, value in self.options.items()] or [self.of]
        return f"{self.name}({', '.join(told)})"


def declare(cls: Any, behaviour: Behaviour, hooks: Iterable[Callable[..., Any]] = ()) -> None:
    """Give a model, or a mixin of models, a behaviour with its marked functions.

    Each is called as if it were a method of the model, ``f(self)`` or ``f(self, event)``, and is
    called ``<behaviour>(<of>).<its own name>`` in messages: under that name, which no method can
    have, it is an attribute of the class. Of a behaviour that a subclass declares again, none of
    the inherited functions are called.

    Raises ``ConfigurationError`` for what is no class of objects, when the class itself has
    declared the same before, and, for a class that is mapped already, when it lacks a field.
    """
    if not isinstance(cls, type):
        raise ConfigurationError(
            f"@{behaviour.name} decorates model classes, not {cls!r}: put it directly above one"
        )
    identity = behaviour.name, behaviour.of
    declared: dict[tuple[str, str], Behaviour] = vars(cls).get(_DECLARED, {})
    if identity in declared:
        raise ConfigurationError(
            f"{cls.__qualname__} declares @{behaviour.name}"
            + (f" of {behaviour.of!r}" if behaviour.of else "")
            + f" twice, as {behaviour} and as {declared[identity]}: leave one of them out"
        )
    _check_mapped(behaviour, cls)
    prefix = f"{behaviour.name}({behaviour.of})."
    for name in [name for name in dir(cls) if name.startswith(prefix)]:
        setattr(cls, name, None)
    for function in hooks:
        if not marks_of(function):
            raise ConfigurationError(
                f"{function!r} of the behaviour {behaviour} is not marked for any moment: "
                "mark it with @pre_update or another one"
            )
        setattr(cls, prefix + function.__name__, function)
    setattr(cls, _DECLARED, {**declared, identity: behaviour})


def behaviours_of(cls: type) -> tuple[Behaviour, ...]:
    """What a model declares or inherits: base classes first, decorators from the bottom up."""
    found: dict[tuple[str, str], Behaviour] = {}
    for base in reversed(cls.__mro__):
        found |= vars(base).get(_DECLARED, {})
    return tuple(found.values())


def filled(cls: type, changes: ChangeSet) -> dict[str, Any]:
    """What the behaviours of a model have a statement set, beside the changes that it makes.

    Its new values are ``UNKNOWN`` where the database works them out, and its old ones always.
    """
    found: dict[str, Any] = {}
    for behaviour in behaviours_of(cls):
        if behaviour.fill is not None:
            found |= behaviour.fill(changes)
    return found


def fitted(cls: type, values: Mapping[str, Any], fit: Callable[[str, Any], Any]) -> dict[str, Any]:
    """What `filled` gave, each in the form that its field has it in.

    Raises ``Veto`` for one that does not fit.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        try:
            found[name] = fit(name, value)
        except ValueError as error:
            raise Veto(f"{cls.__qualname__}.{name} cannot be set as declared: {error}") from error
    return found


def check_behaviours(cls: type, fields: Collection[str]) -> None:
    """Raise ``ConfigurationError`` when a behaviour of a model wants a field it does not have."""
    for behaviour in behaviours_of(cls):
        _check(behaviour, cls, fields)


def _check(behaviour: Behaviour, cls: type, fields: Collection[str]) -> None:
    unknown = sorted(path for path in behaviour.fields if split_path(path)[0] not in fields)
    if unknown:
        raise ConfigurationError(
            f"{behaviour} of {cls.__qualname__} is about {', '.join(map(repr, unknown))}, which is "
            f"no field of it: add it, or name one of {', '.join(sorted(fields))}"
        )


def _check_mapped(behaviour: Behaviour, cls: Any) -> None:
    """Check a class right here, if it is one that its mapper has been through already.

    That is told by what each mapper leaves on its classes; those of a mixin are checked later.
    """
    own = vars(cls)
    fields: Collection[str] = ()
    if "__mapper__" in own:
        fields = cls.__mapper__.columns.keys()
    elif "_fields" in own and not getattr(cls, "_dynamic", False):
        if not own.get("_is_document"):
            raise ConfigurationError(
                f"{behaviour} of {cls.__qualname__} would never run, for an embedded document is "
                "saved as a part of another one: declare it on that one"
            )
        fields = () if cls._meta.get("abstract") else cls._fields
    if fields:
        _check(
            behaviour, cls, {*fields, *(name for name in behaviour.fields if hasattr(cls, name))}
        )
