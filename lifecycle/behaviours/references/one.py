"""A reference to one object, over the fields that hold its identifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, Literal, TypeVar, cast, get_args, overload

from lifecycle.behaviours.references.declaring import (
    OnDelete,
    Reference,
    Target,
    check_name,
    references_of,
)
from lifecycle.behaviours.references.held import Entry, held, holding
from lifecycle.behaviours.references.pending import await_identity, is_pending
from lifecycle.behaviours.references.reading import session_for, together
from lifecycle.bundles import Behaviour
from lifecycle.errors import ConfigurationError, MissingReference
from lifecycle.keys import key_text
from lifecycle.objects import Identity, objects_of, objects_or_none

__all__ = ["ReferenceOne", "check_nullable"]

T = TypeVar("T")

_MISSING: Final = object()
_OPTIONS: Final = {"on_delete": get_args(OnDelete), "missing": ("raise", "none")}


class ReferenceOne(Reference[T]):
    """One object of another database, whose identifier is in ``by``.

    ``by`` names the column or field, or a tuple of them in the order of the target's primary key.
    Assigning an object writes its identifier there at once, converted to what the field holds, so
    that the mapper sees an ordinary change; ``None`` clears it. Reading gives the object, in one
    query for all that were loaded together with this one, and ``None`` where the identifier has no
    value. What was read is kept until the identifier changes or the object itself is read anew.

    An object without an identifier can be assigned before it is saved: its identifier is written
    when this one is flushed, or saved, which raises ``UnsavedReference`` if there is none by then.
    What is assigned to the fields after that counts instead, be it ``None``.

    ``inversed_by`` names the `ReferenceMany` of the other side; ``on_delete`` says what becomes of
    this object when the other one is deleted, see `lifecycle.behaviours.references`; with
    ``missing="none"`` a reference to what is not there reads as ``None``. ``session`` gives the
    session to read objects of SQLAlchemy in.

    Reading raises ``MissingReference`` when what is referred to is not there, or the identifier was
    left out when a document was loaded. Assigning raises
    ``TypeError`` for an object of another class, and ``ValueError`` for an identifier that its
    field cannot hold. A declaration that cannot work raises ``ConfigurationError``.
    """

    kind: ClassVar[str] = "ReferenceOne"

    def __init__(
        self,
        target: Target[T],
        by: str | tuple[str, ...],
        *,
        inversed_by: str | None = None,
        on_delete: OnDelete = "nothing",
        missing: Literal["raise", "none"] = "raise",
        session: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(target, session=session)
        self.fields: Final = (by,) if isinstance(by, str) else tuple(by)
        for name in self.fields or (None,):
            check_name(self.kind, "by", name)
        for option, value in (("on_delete", on_delete), ("missing", missing)):
            if value not in _OPTIONS[option]:
                raise ConfigurationError(
                    f"{self.kind}({option}={value!r}): use one of {', '.join(_OPTIONS[option])}"
                )
        if inversed_by is not None:
            check_name(self.kind, "inversed_by", inversed_by)
        self.inversed_by: Final = inversed_by
        self.on_delete: Final[OnDelete] = on_delete
        self.missing: Final = missing

    def __set_name__(self, owner: type, name: str) -> None:
        if getattr(owner, "_dynamic", False):
            raise ConfigurationError(
                f"{owner.__qualname__}.{name} is on a dynamic document, which would store what is "
                "assigned to it as a field of its own: make it a Document, or assign identifiers "
                "to the field yourself"
            )
        super().__set_name__(owner, name)

    def behaviour(self) -> Behaviour:
        """What it tells of itself to `behaviours_of`."""
        options = {"name": self.name, "to": self.target_name, "by": ", ".join(self.fields)}
        if self.inversed_by is not None:
            options["inversed_by"] = self.inversed_by
        options["on_delete"] = self.on_delete
        return Behaviour(self.kind, self.name, options, frozenset(self.fields))

    def _resolved(self) -> type[T]:
        found = super()._resolved()
        wanted = objects_of(found).identity_fields(found)
        if len(wanted) != len(self.fields):
            raise ConfigurationError(
                f"{self} holds {len(self.fields)} values ({', '.join(self.fields)}), but "
                f"{found.__qualname__} is identified by {len(wanted)} ({', '.join(wanted)}): name "
                "a field for each, in that order"
            )
        if self.inversed_by is not None:
            other = references_of(found).get(self.inversed_by)
            if getattr(other, "mapped_by", None) != self.name:
                raise ConfigurationError(
                    f"{self} is inversed_by {self.inversed_by!r}, but {found.__qualname__} has no "
                    f"ReferenceMany of that name with mapped_by={self.name!r}: declare it, or "
                    "leave inversed_by out"
                )
        return found

    # --- the attribute ---

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> ReferenceOne[T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> T | None: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        return self if instance is None else self._read(instance)

    def __set__(self, instance: Any, value: T | None, /) -> None:
        if value is self:  # a dataclass assigns its default, which it took from the class
            return
        self._leave(instance)
        if value is None:
            self.write(instance, None)
            holding(instance).pop(self.name, None)
            return
        if not isinstance(value, self.target):
            raise TypeError(
                f"{self} takes a {self.target.__qualname__} or None, not a "
                f"{type(value).__qualname__}"
            )
        objects, identity = objects_of(type(instance)), objects_of(type(value)).identity(value)
        if identity is None:
            _touch_fields(instance, self.fields)
        values = self.write(instance, identity)
        holding(instance)[self.name] = Entry(objects.stamp(instance), values, value)
        if identity is None:
            objects.await_assignment(instance, self.fields)
            await_identity(instance)
        self._enter(instance, value)

    def write(self, instance: Any, identity: Identity | None) -> Identity | None:
        """Write an identifier into the fields; returns what they hold then."""
        cls, values = type(instance), None
        if identity is not None:
            try:
                values = objects_of(cls).fitted(cls, self.fields, identity)
            except ValueError as error:
                raise ValueError(
                    f"{self}: {', '.join(self.fields)} cannot hold the identifier of a "
                    f"{self.target.__qualname__} ({error}): give the field its type"
                ) from None
        for name, value in zip(self.fields, values or (None,) * len(self.fields), strict=True):
            setattr(instance, name, value)
        return values

    def _read(self, instance: Any) -> T | None:
        values = tuple(getattr(instance, name) for name in self.fields)
        objects = objects_of(type(instance))
        entry = held(instance).get(self.name)
        if None in values:
            if entry is not None and is_pending(instance, self.fields, entry):
                return cast("T", entry.target)
            if objects.peek(instance, self.fields) is None:
                raise MissingReference(
                    f"{self} of a {type(instance).__qualname__} cannot be read, for it was loaded "
                    f"without {', '.join(self.fields)}: load it with that, or reload() it"
                )
            return None
        if not self._knows(instance, values):
            others = [one for one in together(self, instance) if not self._knows(one)]
            self.fetch([instance, *(one for one in others if one is not instance)])
        entry = holding(instance)[self.name]
        if entry.target is not _MISSING:
            return cast("T", entry.target)
        del holding(instance)[self.name]  # it may be there when it is asked for again
        if self.missing == "none":
            return None
        raise self._not_there(instance, values)

    def _knows(self, instance: Any, values: Identity | None = None) -> bool:
        """Whether what an object refers to is known, or that it refers to nothing."""
        objects = objects_of(type(instance))
        if values is None:
            values = objects.peek(instance, self.fields)
            if values is None or None in values:
                return True  # nothing is to be asked for it
        entry = held(instance).get(self.name)
        if entry is None or not entry.holds(objects.stamp(instance), values):
            return False
        target = entry.target
        return target is _MISSING or not objects_of(type(target)).is_gone(target)

    def fetch(self, instances: Sequence[Any]) -> None:
        """Find what these refer to, in one query, and let each remember its own."""
        target = self.target
        theirs = objects_of(target)
        wanted: list[tuple[Any, Identity, Identity | None]] = []
        for one in instances:
            values = objects_of(type(one)).peek(one, self.fields)
            if values is not None and None not in values:
                wanted.append((one, values, theirs.as_identity(target, values)))
        identities = list(dict.fromkeys(key for _, _, key in wanted if key is not None))
        found: dict[Identity | None, Any] = {}
        if identities:
            with session_for(self, target, instances[0]) as session:
                loaded = theirs.load(target, identities, session)
                found = {theirs.identity(one): one for one in loaded}
        for one, values, key in wanted:
            stamp = objects_of(type(one)).stamp(one)
            holding(one)[self.name] = Entry(stamp, values, found.get(key, _MISSING))

    def _not_there(self, instance: Any, values: Identity) -> MissingReference:
        objects, target = objects_of(type(instance)), self.target
        own = objects.identity(instance)
        return MissingReference(
            f"{self.name} of {objects.entity(type(instance))} "
            f"{'(new)' if own is None else key_text(own)} refers to "
            f"{objects_of(target).entity(target)} {key_text(values)}, which is not there: it was "
            "deleted, or never saved; `lifecycle check-references` finds all such, and repairs them"
        )

    # --- the other side ---

    def _inverse(self, target: Any) -> Any:
        """The `ReferenceMany` that shows this reference on a target; ``None`` for none."""
        for other in references_of(type(target)).values():
            if getattr(other, "mapped_by", None) == self.name:
                cls = other.target
                if issubclass(self.owner, cls) or issubclass(cls, self.owner):
                    return other
        return None

    def _enter(self, instance: Any, target: Any) -> None:
        many = self._inverse(target)
        if many is not None:
            many.entered(target, instance)

    def _leave(self, instance: Any) -> None:
        entry = held(instance).get(self.name)
        if entry is not None and entry.target is not _MISSING:
            many = self._inverse(entry.target)
            if many is not None:
                many.left(entry.target, instance)


def check_nullable(reference: Reference[Any], cls: type, doing: str | None = None) -> None:
    """Raise ``ConfigurationError`` when it is to be set to ``None``, and a class cannot do so."""
    if not isinstance(reference, ReferenceOne) or (doing or reference.on_delete) != "nullify":
        return
    objects = objects_or_none(cls)
    for name in reference.fields:
        if objects is not None and not objects.is_nullable(cls, name):
            raise ConfigurationError(
                f"{reference} cannot be nullified, for {name!r} of {cls.__qualname__} must have a "
                'value: allow it none, or use on_delete="cascade" or "restrict"'
            )


def _touch_fields(instance: Any, fields: Iterable[str]) -> None:
    """Have an object read first what would else be read later, over what is assigned now."""
    for name in fields:
        getattr(instance, name)
