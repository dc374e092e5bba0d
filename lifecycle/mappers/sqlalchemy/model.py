"""What there is to know of a mapped class, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import eq, itemgetter
from typing import Any, Final

from sqlalchemy import Column, Dialect, Float, LargeBinary, Numeric, TypeDecorator
from sqlalchemy.orm import MANYTOONE, InstanceState, Mapper, RelationshipProperty
from sqlalchemy.orm import class_mapper as _class_mapper
from sqlalchemy.orm.exc import UnmappedClassError, UnmappedColumnError
from sqlalchemy.types import TypeEngine

from lifecycle import codec
from lifecycle.changes import Change, Delta
from lifecycle.errors import EncodingError, RecordingError
from lifecycle.faults import attempted, field_named, unknown
from lifecycle.forms import ATOMS, Form
from lifecycle.keys import key_text
from lifecycle.mappers.sqlalchemy.altered import keys_in_doubt
from lifecycle.mappers.sqlalchemy.collections import many_to_many
from lifecycle.mappers.sqlalchemy.fitting import fitted
from lifecycle.mappers.sqlalchemy.values import ToLog, from_log, plain, to_log
from lifecycle.markers import Marker
from lifecycle.policy import NO_MASKING, Masking, Policy, entity_of, policy_of
from lifecycle.removal import removal_of

__all__ = ["Model", "attribute_of", "mapper_of", "root_of_hierarchy"]

_FORMS: Final = 100
"""How many combinations of changed fields a model remembers the form of."""


def mapper_of(cls: type) -> Mapper[Any] | None:
    """The mapper of a class, ``None`` when it is not mapped; configures nothing."""
    try:
        return _class_mapper(cls, configure=False)
    except UnmappedClassError:
        return None


@dataclass(frozen=True, slots=True)
class Field:
    """A mapped column: the attribute's name, and how its values go to the log.

    ``compares`` says that ``==`` tells whether two of its values are equal, as ``equal`` does also
    of values that cannot be compared.
    """

    name: str
    compares: bool
    equal: Callable[[Any, Any], bool]
    to_log: ToLog | None
    from_log: ToLog | None


class Model:
    """A mapped class: its names, its fields, and which of them the database fills in.

    Only real columns are fields: SQL expressions, synonyms, composites and hybrids show through
    the columns they stand on, so nothing appears twice.
    """

    def __init__(self, mapper: Mapper[Any], masking: Masking = NO_MASKING) -> None:
        self.mapper: Final = mapper
        self.cls: Final[type] = mapper.class_
        self.root: Final = root_of_hierarchy(mapper)
        self.entity: Final = entity_of(self.root)
        self.policy: Final[Policy] = masking.extended(
            policy_of(mapper.class_),
            (
                (prop.key, name, prop.columns[0].type)
                for prop in mapper.column_attrs
                for name in {prop.key, str(getattr(prop.columns[0], "name", prop.key))}
                if isinstance(prop.columns[0], Column)
            ),
        )
        self.fields: Final = {
            prop.key: _field(mapper, prop.key, prop.columns[0])
            for prop in mapper.column_attrs
            if isinstance(prop.columns[0], Column)
        }
        self.names: Final = frozenset(self.fields)
        self.converted: Final = frozenset(
            name for name, field in self.fields.items() if field.to_log is not None
        )
        self.told_by_value: Final = self.converted.union(
            name for name in self.fields if not _is_fixed(mapper.attrs[name].columns[0])
        )
        """The fields whose values have to be asked how they go to the log."""
        self.numbers: Final = frozenset(
            name for name in self.fields if _is_number(mapper.attrs[name].columns[0].type)
        )
        """The fields that may be NaN."""
        self.values_of: Final = _getter(tuple(self.fields))
        """The values of all fields out of an object's attributes; raises ``KeyError``."""
        self.identity: Final = tuple(
            mapper.get_property_by_column(column).key for column in mapper.primary_key
        )
        self.identity_names: Final = frozenset(self.identity)
        self.keys_in_doubt: Final = keys_in_doubt(mapper)
        """The columns of its key that the database may keep in another form than given."""
        self.volatile: Final = frozenset(name for name in self.fields if _is_volatile(mapper, name))
        self.per_row: Final = frozenset(
            name
            for name in self.volatile
            if getattr(mapper.attrs[name].columns[0].onupdate, "is_callable", False)
        )
        self.many_to_one: Final = tuple(
            _foreign_keys(mapper, relationship)
            for relationship in mapper.relationships
            if relationship.direction is MANYTOONE and not relationship.viewonly
        )
        self.many_to_many: Final = many_to_many(mapper)
        self.removal: Final = removal_of(mapper.class_)
        self.is_fixed: Final = all(map(_is_fixed, self.mapper.columns))
        """Whether no value of it can be changed in place, so that memory has what was stored."""
        self.is_still: Final = not self.volatile and not self.many_to_one
        """Whether an UPDATE changes the columns that were assigned to, and no others."""

        policy = self.policy
        hides = bool(policy.exclude or policy.inside)
        self.has_values_only: Final = not (hides or policy.label is not None)
        """Whether its values go to the log each by itself, and with nothing beside them."""
        self.is_uniform: Final = self.has_values_only and not (
            self.volatile or self.many_to_many or self.removal
        )
        """Whether all that a flush does to it shows in the columns of its objects' values."""
        self.is_plain: Final = self.has_values_only and not (policy.mask or self.converted)
        """Whether they go there as they are."""
        hidden = {*policy.exclude, *policy.mask, *(path[0] for path in policy.inside)}
        self.unaltered: Final = self.names - self.converted - hidden
        """The fields whose values go to the log as they are."""
        self.form: Final = Form(self.fields)
        self._forms: Final[dict[tuple[str, ...], Form]] = {}

    def form_of(self, names: tuple[str, ...]) -> Form:
        """The form of some fields."""
        found = self._forms.get(names)
        if found is None:
            if len(self._forms) >= _FORMS:
                self._forms.clear()
            found = self._forms[names] = Form(names)
        return found

    def named(self, whole: tuple[Any, ...]) -> dict[str, Any]:
        """The values of all fields by their names."""
        return dict(zip(self.fields, whole, strict=True))

    @property
    def recorded_names(self) -> list[str]:
        """What a changeset may have of the object: its columns and many-to-many collections."""
        return [*self.fields, *(one.name for one in self.many_to_many)]

    def key(self, state: InstanceState[Any]) -> str | None:
        """The text of an object's identity as its attributes have it; ``None`` while unknown."""
        return self.key_in(state.dict)

    def key_in(self, values: Mapping[str, Any]) -> str | None:
        """The same by these attributes."""
        if len(self.identity) == 1:
            value = values.get(self.identity[0])
            if type(value) is int:
                return str(value)  # as `key_text` has it, without being asked
            return None if value is None else self.key_text((value,))
        identity = tuple(map(values.get, self.identity))
        return None if identity == (None,) * len(identity) else self.key_text(identity)

    def stored_key(self, state: InstanceState[Any]) -> str | None:
        """The text of the identity the database knew the object by before the flush."""
        known = state.key
        if known is None:
            return None
        identity = known[1]
        if len(identity) == 1 and type(identity[0]) is int:
            return str(identity[0])  # as `key_text` has it, without being asked
        return self.key_text(identity)

    def key_text(self, identity: tuple[Any, ...]) -> str:
        """The text of an identity; raises ``RecordingError``, with the entity, when it has none."""
        if len(identity) == 1 and type(identity[0]) is int:
            return str(identity[0])  # as `key_text` has it, for every object of every flush
        try:
            return key_text(identity)
        except EncodingError as error:
            raise RecordingError(
                f"a {self.entity} cannot be recorded, for its key has no text: {error}"
            ) from None

    def key_texts(self, identity: Sequence[Sequence[Any]]) -> list[str]:
        """The texts of many identities, given by columns; raises as `key_text`."""
        if len(identity) == 1 and set(map(type, identity[0])) == {int}:
            return list(map(str, identity[0]))
        return list(map(self.key_text, zip(*identity, strict=True)))

    def logged_state(self, state: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
        """The values of an object's fields as they go to the log. Raises as `logged` does."""
        if not self.converted and ATOMS.issuperset(map(type, state.values())):
            return state
        return {name: self.logged(name, value, dialect) for name, value in state.items()}

    def logged_deltas(self, deltas: dict[str, Delta], dialect: Dialect) -> dict[str, Delta]:
        """Changes of an object's fields as they go to the log. Raises as `logged` does."""
        return {name: self._logged_delta(name, one, dialect) for name, one in deltas.items()}

    def _logged_delta(self, name: str, delta: Delta, dialect: Dialect) -> Delta:
        if not isinstance(delta, Change):  # of a collection, which holds keys
            return delta
        old, new = delta.old, delta.new
        if name not in self.converted and type(old) in ATOMS and type(new) in ATOMS:
            return delta
        return Change(self.logged(name, old, dialect), self.logged(name, new, dialect))

    def logged(self, field: str, value: Any, dialect: Dialect) -> Any:
        """A field's value as it goes to the log.

        Raises whatever the column's type raises; `logged_or_unknown` finds the field then.
        """
        convert = self.fields[field].to_log
        if convert is None or value is None or isinstance(value, Marker):
            return plain(value)
        return plain(convert(value, dialect))

    def logged_column(self, field: str, values: Sequence[Any], dialect: Dialect) -> list[Any]:
        """Values of one field as they go to the log, as `logged` has each; raises the same."""
        return [self.logged(field, value, dialect) for value in values]

    def python(self, field: str, logged: Any, dialect: Dialect) -> Any:
        """The attribute's value for one from the log; raises whatever the column's type raises."""
        convert = self.fields[field].from_log
        if convert is None or logged is None or isinstance(logged, Marker):
            return plain(logged)
        return convert(logged, dialect)

    def fitted(self, field: str, value: Any) -> Any:
        """An instant or an identifier in the form that a field has it in, if it is one."""
        known = field in self.fields
        return fitted(self.mapper.attrs[field].columns[0].type, value) if known else value

    def logged_or_unknown(
        self, found: dict[str, str], field: str, value: Any, dialect: Dialect
    ) -> Any:
        """The same; ``UNKNOWN``, and the fault noted, when it cannot be told.

        Of a field that the log hides nothing is asked.
        """
        if field in self.policy.exclude or field in self.policy.mask:
            return unknown(value)

        def make() -> Any:
            try:
                return self.logged(field, value, dialect)
            except Exception as error:
                raise RecordingError(
                    f"turning its value into what is stored raised {type(error).__name__}; correct "
                    "its column type, or leave the field out or mask it with @audited"
                ) from None

        return attempted(found, field_named(field), make, instead=unknown(value))


def _getter(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) == 1:
        return lambda values: (values[names[0]],)
    return itemgetter(*names)


def root_of_hierarchy(mapper: Mapper[Any]) -> type:
    """The class whose rows an object's key is unique among; concrete tables have their own."""
    while mapper.inherits is not None and not mapper.concrete:
        mapper = mapper.inherits
    return mapper.class_


def _field(mapper: Mapper[Any], name: str, column: Any) -> Field:
    compares = _compares(column.type)
    return Field(name, compares, _equality(column.type), to_log(column.type), from_log(column.type))


def _compares(type_: TypeEngine[Any]) -> bool:
    """Whether all that a type does to compare its values is ``==``."""
    return getattr(type_.compare_values, "__func__", None) is TypeEngine.compare_values


def _equality(type_: TypeEngine[Any]) -> Callable[[Any, Any], bool]:
    """How a type compares its values, with an answer also where comparing them fails."""
    compare: Callable[[Any, Any], Any] = eq if _compares(type_) else type_.compare_values

    def equal(old: Any, new: Any) -> bool:
        try:
            answer = compare(old, new)
        except Exception:  # a foreign type's __eq__ may do anything
            answer = None
        return answer if answer is True or answer is False else _recorded_alike(old, new)

    return equal


def _recorded_alike(old: Any, new: Any) -> bool:
    """Whether two values that cannot be compared are the same in the log; in doubt they differ."""
    try:
        return codec.canonical(old) == codec.canonical(new)
    except Exception:
        return False


def _is_fixed(column: Any) -> bool:
    """Whether a column's type gives none but values that nobody can change in place."""
    type_ = column.type
    if isinstance(type_, TypeDecorator | LargeBinary):  # binary values may be arrays of bytes
        return False
    try:
        return type_.python_type in ATOMS
    except NotImplementedError:
        return False


def _is_number(type_: TypeEngine[Any]) -> bool:
    """Whether a column's type is one of numbers other than integers, or stands on one."""
    while isinstance(type_, TypeDecorator):
        type_ = type_.impl_instance
    return isinstance(type_, Float | Numeric)


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
        (attribute_of(mapper, local), attribute_of(relationship.mapper, remote))
        for local, remote in relationship.local_remote_pairs or ()
    ]
    return relationship.key, tuple(
        (local, remote) for local, remote in pairs if local is not None and remote is not None
    )


def attribute_of(mapper: Mapper[Any], column: Any) -> str | None:
    """The name of the attribute a column is mapped to, ``None`` when it is not."""
    try:
        return mapper.get_property_by_column(column).key
    except UnmappedColumnError:
        return None
