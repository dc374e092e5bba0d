"""Remarks on mapped classes: what the log would miss of them, or tell too much of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    JSON,
    Column,
    Engine,
    ForeignKeyConstraint,
    PickleType,
    Table,
    inspect,
    select,
)
from sqlalchemy.orm import configure_mappers

from lifecycle.linting import Lint, looks_secret, secrets_inside
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models, configured_mappers
from lifecycle.mappers.sqlalchemy.tables import Tables
from lifecycle.policy import Policy, has_stable_name

__all__ = ["lint_models"]

_LOOKED_AT: Final = 100  # rows of a table
_ACTIONS: Final = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


def lint_models(
    models: Models,
    tables: Tables,
    wants: Callable[[Policy], bool],
    engine: Engine | None,
    is_seen: Callable[[Model], bool],
) -> Iterator[Lint]:
    """Every remark. ``is_seen`` says whether what is installed may write objects of a model."""
    configure_mappers()
    recorded = [
        model
        for mapper in configured_mappers()
        if wants((model := models.get(mapper.class_)).policy)
    ]
    for model in recorded:
        yield from _of_fields(model)
        if engine is not None:
            yield from _of_values(model, engine)
        if model.cls is model.root and not has_stable_name(model.cls):
            yield Lint(
                model.entity,
                "",
                "entity",
                "its name in the log is that of the class, so renaming the class would begin a new "
                'history: name it with @audited(entity="...")',
            )
        if not is_seen(model):
            yield Lint(
                model.entity,
                "",
                "install",
                "no session and no engine is installed that writes it, so none of its writes is "
                "recorded: lifecycle.install(Session)",
            )
    yield from _of_foreign_keys(recorded, tables, engine)


def _of_fields(model: Model) -> Iterator[Lint]:
    hidden = model.policy.mask | model.policy.exclude
    for name in model.fields:
        if name in hidden:
            continue
        column = model.mapper.attrs[name].columns[0]
        if looks_secret(name) or type(column.type).__name__ == "PasswordType":
            yield Lint(
                model.entity,
                name,
                "secret",
                f"its values go to the log as they are: @audited(mask={{{name!r}}}), or mask_names "
                "or mask_types of the Lifecycle",
            )
        if isinstance(column.type, JSON | PickleType | ARRAY) and not _is_mutable(model, name):
            yield Lint(
                model.entity,
                name,
                "mutable",
                "what is changed inside its values SQLAlchemy neither sees nor saves: "
                f"MutableDict.as_mutable({type(column.type).__name__}) or another Mutable",
            )


def _of_values(model: Model, engine: Engine) -> Iterator[Lint]:
    """What looks secret inside JSON, by some of the rows there are."""
    hidden = model.policy.mask | model.policy.exclude
    columns = {name: model.mapper.attrs[name].columns[0] for name in model.names - hidden}
    for name, column in columns.items():
        if not isinstance(column.type, JSON) or not _is_there(column, engine):
            continue
        some = select(column).where(column.is_not(None)).limit(_LOOKED_AT)
        with engine.connect() as connection:
            values = connection.scalars(some).all()
        shown = (model.policy.hidden(name, value) for value in values)
        for path in sorted({path for value in shown for path in secrets_inside(value)}):
            yield Lint(
                model.entity,
                f"{name}.{path}",
                "secret",
                f"its values go to the log as they are: @audited(mask={{'{name}.{path}'}}), or "
                "mask_names of the Lifecycle",
            )


def _is_there(column: Column[Any], engine: Engine) -> bool:
    database, table = inspect(engine), column.table
    if not isinstance(table, Table) or not database.has_table(table.name, schema=table.schema):
        return False
    there = database.get_columns(table.name, schema=table.schema)
    return column.name in {one["name"] for one in there}


def _is_mutable(model: Model, name: str) -> bool:
    """Whether a Mutable listens to the attribute."""
    listeners: Iterable[Any] = getattr(model.cls, name).dispatch.set
    # SQLAlchemy wraps those that ask for the state in place of the object.
    wrapped = (cell.cell_contents for one in listeners for cell in one.__closure__ or ())
    return any(
        getattr(one, "__module__", "") == "sqlalchemy.ext.mutable" for one in (*listeners, *wrapped)
    )


def _of_foreign_keys(
    recorded: list[Model], tables: Tables, engine: Engine | None
) -> Iterator[Lint]:
    """Rows that the database changes by itself, where the log would not know."""
    entities: dict[Table, str] = {}
    for model in recorded:
        for table in model.mapper.tables:
            if isinstance(table, Table):
                entities.setdefault(table, model.entity)
    known: set[tuple[str, tuple[str, ...]]] = set()
    for table in {one for holder in entities for one in holder.metadata.tables.values()}:
        for constraint in table.foreign_key_constraints:
            if not _acts(constraint.ondelete, constraint.onupdate):
                continue
            known.add((table.fullname, tuple(constraint.column_keys)))
            target = _target(constraint)
            if target in entities and not tables.of(table):
                yield Lint(
                    entities[target],
                    "",
                    "cascade",
                    f"when it goes or its key changes the database changes {table.fullname}, which "
                    "is not recorded: map that table, or let it be audited",
                )
    if engine is None:
        return
    database = inspect(engine)
    for table, entity in entities.items():
        if not database.has_table(table.name, schema=table.schema):
            continue
        for found in database.get_foreign_keys(table.name, schema=table.schema):
            columns = tuple(found["constrained_columns"])
            options = found.get("options", {})
            acts = _acts(options.get("ondelete"), options.get("onupdate"))
            if acts and (table.fullname, columns) not in known:
                yield Lint(
                    entity,
                    ", ".join(columns),
                    "cascade",
                    "its foreign key acts in the database, and the model does not say so, so what "
                    "the database changes by it is not recorded: give ForeignKey its ondelete and "
                    "onupdate",
                )


def _acts(*actions: str | None) -> bool:
    return any((action or "").upper() in _ACTIONS for action in actions)


def _target(constraint: ForeignKeyConstraint) -> Table | None:
    try:
        return constraint.referred_table
    except Exception:  # of a table that is not in the metadata
        return None
