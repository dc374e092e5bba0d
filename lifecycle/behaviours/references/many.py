"""The other side: all objects that refer to one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar, overload

from lifecycle.behaviours.references.declaring import Reference, Target, check_name, references_of
from lifecycle.behaviours.references.held import Entry, held, holding
from lifecycle.behaviours.references.one import ReferenceOne
from lifecycle.behaviours.references.reading import session_for, together
from lifecycle.bundles import Behaviour
from lifecycle.errors import ConfigurationError
from lifecycle.objects import Identity, objects_of

__all__ = ["ReferenceMany", "ReferenceManyEmbedded", "Referring"]

T = TypeVar("T")


class Referring(Collection[T], Generic[T]):
    """The objects that refer to one, asked for at the first look, for all loaded together with it.

    They come ordered by primary key, what was added since last. They are kept until the object is
    read anew, or `refresh` is called; what is assigned on the other side meanwhile shows at once.
    """

    __slots__ = ("_instance", "_reference")

    def __init__(self, reference: _Many[T], instance: Any) -> None:
        self._reference = reference
        self._instance = instance

    def __iter__(self) -> Iterator[T]:
        return iter(self._reference.members(self._instance))

    def __len__(self) -> int:
        return len(self._reference.members(self._instance))

    def __bool__(self) -> bool:
        return len(self) > 0

    def __contains__(self, other: object) -> bool:
        return any(_is_same(one, other) for one in self)

    def __repr__(self) -> str:
        return f"<{self._reference} of {self._instance!r}>"

    def add(self, *others: T) -> None:
        """Let objects refer to this one, by assigning to their reference; save them after that."""
        self._reference.join(self._instance, others, self._instance)

    def remove(self, *others: T) -> None:
        """Let objects that refer to this one refer to none; raises ``ValueError`` for others."""
        for other in others:
            if other not in self:
                raise ValueError(f"{other!r} is not in {self!r}")
        self._reference.join(self._instance, others, None)

    def refresh(self) -> None:
        """Ask anew at the next look."""
        holding(self._instance).pop(self._reference.name, None)


class _Many(Reference[T]):
    """A reference to many, read through a collection."""

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> _Many[T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Referring[T]: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        return self if instance is None else Referring(self, instance)

    def __set__(self, instance: Any, value: Any, /) -> None:
        if value is not self:  # a dataclass assigns its default
            raise AttributeError(
                f"{self} cannot be assigned to: use {self.name}.add(…) and {self.name}.remove(…), "
                "or assign to the reference of the other side"
            )

    def members(self, instance: Any) -> list[T]:
        """Those that refer to the object now."""
        if not self._knows(instance):
            others = [one for one in together(self, instance) if not self._knows(one)]
            self.fetch([instance, *(one for one in others if one is not instance)])
        found: list[T] = []
        for one in self._entry(instance).target:
            objects = objects_of(type(one))
            if not objects.is_gone(one) and self.refers(one, instance):
                found.append(one)
        return found

    def _knows(self, instance: Any) -> bool:
        entry = held(instance).get(self.name)
        return entry is not None and entry.holds(*_now(instance))

    def _entry(self, instance: Any) -> Entry:
        if not self._knows(instance):  # it has no identity, so nothing in a database refers to it
            holding(instance)[self.name] = Entry(*_now(instance), [])
        return holding(instance)[self.name]

    def fetch(self, instances: Sequence[Any]) -> None:
        """Find what refers to these, in one query, and let each remember its own."""
        identities = [(one, objects_of(type(one)).identity(one)) for one in instances]
        owners = [(one, identity) for one, identity in identities if identity is not None]
        found: dict[Identity, list[Any]] = {identity: [] for _, identity in owners}
        if found:
            target = self.target
            with session_for(self, target, instances[0]) as session:
                for other in self.search(list(found), session):
                    for identity in self.led_to(other, instances[0]):
                        if identity in found:
                            found[identity].append(other)
        for one, identity in owners:
            before = held(one).get(self.name)
            assigned = before.target if before is not None and before.values is None else ()
            members = list(found[identity])
            for other in assigned:
                if not any(_is_same(other, there) for there in members):
                    members.append(other)
            stamp = objects_of(type(one)).stamp(one)
            holding(one)[self.name] = Entry(stamp, identity, members)

    def search(self, identities: list[Identity], session: Any) -> list[Any]:
        """The objects that refer to one of these."""
        fields, target = self.places(), self.target
        objects = objects_of(target)
        values = [objects.fitted(target, fields, identity) for identity in identities]
        return objects.find(target, fields, values, session)

    # --- what differs ---

    def places(self) -> tuple[str, ...]:
        """The fields, or the path, of the target that hold an identity."""
        raise NotImplementedError

    def led_to(self, other: Any, like: Any) -> Iterator[Identity]:
        """The identities, of objects like one, that another one refers to."""
        raise NotImplementedError

    def refers(self, other: Any, instance: Any) -> bool:
        """Whether an object refers to this one, as it is in memory."""
        identity = objects_of(type(instance)).identity(instance)
        return identity is not None and identity in self.led_to(other, instance)

    def join(self, instance: Any, others: Sequence[Any], target: Any) -> None:
        """Let objects refer to the target."""
        raise NotImplementedError

    def entered(self, instance: Any, other: Any) -> None:
        """Another one refers to this object now."""
        is_new = objects_of(type(instance)).identity(instance) is None
        if is_new or self._knows(instance):
            members = self._entry(instance).target
            if not any(_is_same(one, other) for one in members):
                members.append(other)

    def left(self, instance: Any, other: Any) -> None:
        """Another one does not refer to this object any more."""
        if self._knows(instance):
            members = self._entry(instance).target
            members[:] = [one for one in members if not _is_same(one, other)]


class ReferenceMany(_Many[T]):
    """The objects of another database whose `ReferenceOne` called ``mapped_by`` leads to this one.

    Reading gives a `Referring`, a collection that asks the other database at the first look, in one
    query for all that were loaded together with this one. Its ``add`` and ``remove`` assign to the
    other side, where the identifier is. ``session`` gives the session to read objects of SQLAlchemy
    in. Raises ``ConfigurationError`` when the other class has no such reference.
    """

    kind: ClassVar[str] = "ReferenceMany"

    def __init__(
        self,
        target: Target[T],
        *,
        mapped_by: str,
        session: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(target, session=session)
        check_name(self.kind, "mapped_by", mapped_by)
        self.mapped_by: Final = mapped_by

    def behaviour(self) -> Behaviour:
        """What it tells of itself to `behaviours_of`."""
        options = {"name": self.name, "to": self.target_name, "mapped_by": self.mapped_by}
        return Behaviour(self.kind, self.name, options)

    def inverse(self) -> ReferenceOne[Any]:
        """The reference of the other side."""
        found = references_of(self.target).get(self.mapped_by)
        if not isinstance(found, ReferenceOne):
            raise ConfigurationError(
                f"{self} is mapped_by {self.mapped_by!r}, but {self.target.__qualname__} has no "
                "ReferenceOne of that name: declare it there"
            )
        if not (issubclass(self.owner, found.target) or issubclass(found.target, self.owner)):
            raise ConfigurationError(
                f"{self} is mapped_by {found}, which refers to {found.target.__qualname__}: name "
                f"one that refers to {self.owner.__qualname__}"
            )
        return found

    def places(self) -> tuple[str, ...]:
        """The fields of the reference on the other side."""
        return self.inverse().fields

    def led_to(self, other: Any, like: Any) -> Iterator[Identity]:
        """The identity that another one refers to, if any."""
        values = objects_of(type(other)).peek(other, self.inverse().fields)
        if values is not None and None not in values:
            found = objects_of(type(like)).as_identity(type(like), values)
            if found is not None:
                yield found

    def refers(self, other: Any, instance: Any) -> bool:
        """Whether an object refers to this one, as it is in memory."""
        entry = held(other).get(self.mapped_by)
        if entry is not None and entry.values is None and entry.target is instance:
            return getattr(other, self.mapped_by) is instance  # it waits for the identifier
        return super().refers(other, instance)

    def join(self, instance: Any, others: Sequence[Any], target: Any) -> None:
        """Let objects refer to the target, by assigning to their reference."""
        name = self.inverse().name
        for other in others:
            if not isinstance(other, self.target):
                raise TypeError(
                    f"{self} holds objects of {self.target.__qualname__}, not of "
                    f"{type(other).__qualname__}"
                )
            setattr(other, name, target)
            if target is None:
                self.left(instance, other)  # which may have been another copy of it


class ReferenceManyEmbedded(_Many[T]):
    """The documents that hold this object's identifier within their embedded documents.

    ``path`` leads there from the document, as in ``"reviews.author_id"``, through lists too.
    Reading gives a `Referring` that cannot be added to: to change what it has, change the embedded
    documents, and save. Raises ``ConfigurationError`` for a target that is no document.
    """

    kind: ClassVar[str] = "ReferenceManyEmbedded"

    def __init__(
        self, target: Target[T], path: str, *, session: Callable[[], Any] | None = None
    ) -> None:
        super().__init__(target, session=session)
        check_name(self.kind, "path", path)
        self.path: Final = path

    def behaviour(self) -> Behaviour:
        """What it tells of itself to `behaviours_of`."""
        options = {"name": self.name, "to": self.target_name, "path": self.path}
        return Behaviour(self.kind, self.name, options)

    def _resolved(self) -> type[T]:
        found = super()._resolved()
        objects_of(found).check_path(found, self.path)
        return found

    def places(self) -> tuple[str, ...]:
        """The path into the documents."""
        return (self.path,)

    def led_to(self, other: Any, like: Any) -> Iterator[Identity]:
        """The identities that a document holds, each once."""
        objects, cls = objects_of(type(like)), type(like)
        values = objects_of(type(other)).values_at(other, self.path)
        found = (objects.as_identity(cls, (value,)) for value in values)
        yield from dict.fromkeys(one for one in found if one is not None)

    def join(self, instance: Any, others: Sequence[Any], target: Any) -> None:
        """Refuse: only the document knows which of its embedded documents are meant."""
        raise TypeError(
            f"{self} cannot be changed from here: change {self.path} of the "
            f"{self.target.__qualname__} and save that"
        )


def _now(instance: Any) -> tuple[object, Identity | None]:
    """What an entry of this object, made now, would hold."""
    objects = objects_of(type(instance))
    return objects.stamp(instance), objects.identity(instance)


def _is_same(one: Any, other: Any) -> bool:
    """Whether both are one object of the database, be it in two sessions."""
    if one is other:
        return True
    if not (isinstance(other, type(one)) or isinstance(one, type(other))):
        return False
    objects = objects_of(type(one))
    identity = objects.identity(one)
    return identity is not None and identity == objects.identity(other)
