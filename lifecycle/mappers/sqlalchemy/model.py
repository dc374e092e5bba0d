"""What there is to know of a mapped class, worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Dialect
from sqlalchemy.orm import MANYTOONE, InstanceState, Mapper, RelationshipProperty
from sqlalchemy.orm import class_mapper as _class_mapper
from sqlalchemy.orm.exc import UnmappedClassError, UnmappedColumnError

from lifecycle.errors import RecordingError
from lifecycle.keys import key_text
from lifecycle.mappers.sqlalchemy.values import ToLog, plain, to_log
from lifecycle.markers import Marker
from lifecycle.policy import Policy, entity_of, policy_of

__all__ = ["Model", "mapper_of"]


def mapper_of(cls: type) -> Mapper[Any] | None:
    """The mapper of a class, ``None`` when it is not mapped; configures nothing."""
    try:
        return _class_mapper(cls, configure=False)
    except UnmappedClassError:
        return None


@dataclass(frozen=True, slots=True)
class Field:
    """A mapped column: the attribute's name, and how its values go to the log."""

    name: str
    equal: Any
    to_log: ToLog | None


class Model:
    """A mapped class: its names, its fields, and which of them the database fills in.

    Only real columns are fields: SQL expressions, synonyms, composites and hybrids show through
    the columns they stand on, so nothing appears twice.
    """

    def __init__(self, mapper: Mapper[Any]) -> None:
        self.mapper: Final = mapper
        self.cls: Final[type] = mapper.class_
        self.root: Final = _root(mapper)
        self.entity: Final = entity_of(self.root)
        self.policy: Final[Policy] = policy_of(mapper.class_)
        self.fields: Final = {
            prop.key: _field(mapper, prop.key, prop.columns[0])
            for prop in mapper.column_attrs
            if isinstance(prop.columns[0], Column)
        }
        self.identity: Final = tuple(
            mapper.get_property_by_column(column).key for column in mapper.primary_key
        )
        self.volatile: Final = frozenset(name for name in self.fields if _is_volatile(mapper, name))
        self.many_to_one: Final = tuple(
            _foreign_keys(mapper, relationship)
            for relationship in mapper.relationships
            if relationship.direction is MANYTOONE and not relationship.viewonly
        )

    def key(self, state: InstanceState[Any]) -> str | None:
        """The text of an object's identity as its attributes have it; ``None`` while unknown."""
        identity = tuple(map(state.dict.get, self.identity))
        return None if identity == (None,) * len(identity) else key_text(identity)

    def stored_key(self, state: InstanceState[Any]) -> str | None:
        """The text of the identity the database knew the object by before the flush."""
        return None if state.key is None else key_text(state.key[1])

    def logged(self, field: str, value: Any, dialect: Dialect) -> Any:
        """A field's value as it goes to the log.

        Raises ``RecordingError`` when the column's type refuses the value.
        """
        convert = self.fields[field].to_log
        if convert is None or value is None or isinstance(value, Marker):
            return plain(value)
        try:
            return plain(convert(value, dialect))
        except Exception as error:
            raise RecordingError(
                f"{self.entity}.{field} cannot be recorded: its column type refused the value "
                f"({type(error).__name__})"
            ) from None  # the cause may quote the value


def _root(mapper: Mapper[Any]) -> type:
    """The class whose rows an object's key is unique among; concrete tables have their own."""
    while mapper.inherits is not None and not mapper.concrete:
        mapper = mapper.inherits
    return mapper.class_


def _field(mapper: Mapper[Any], name: str, column: Any) -> Field:
    return Field(name, column.type.compare_values, to_log(column.type))


def _is_volatile(mapper: Mapper[Any], name: str) -> bool:
    """Whether an UPDATE may change the column without anybody assigning to it."""
    return any(
        isinstance(column, Column)
        and (
            column.onupdate is not None
            or column.server_onupdate is not None
            or column.computed is not None
            or column is mapper.version_id_col
        )
        for column in mapper.attrs[name].columns
    )


def _foreign_keys(
    mapper: Mapper[Any], relationship: RelationshipProperty[Any]
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A many-to-one relationship's name, and its own and the target's columns by attribute name."""
    pairs = [
        (_attribute(mapper, local), _attribute(relationship.mapper, remote))
        for local, remote in relationship.local_remote_pairs or ()
    ]
    return relationship.key, tuple(
        (local, remote) for local, remote in pairs if local is not None and remote is not None
    )


def _attribute(mapper: Mapper[Any], column: Any) -> str | None:
    try:
        return mapper.get_property_by_column(column).key
    except UnmappedColumnError:
        return None
