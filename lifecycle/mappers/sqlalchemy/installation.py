"""Installing into the session set-up an application already has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final
from weakref import WeakSet, ref

from sqlalchemy import Dialect, Engine, event, inspect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import (
    InstanceState,
    Mapper,
    Session,
    configure_mappers,
    object_session,
    sessionmaker,
)

from lifecycle.errors import HistoryError, InstallError
from lifecycle.keys import key_text
from lifecycle.linting import Lint
from lifecycle.mappers.base import Live, Services
from lifecycle.mappers.sqlalchemy.linting import lint_models
from lifecycle.mappers.sqlalchemy.live import live_tables
from lifecycle.mappers.sqlalchemy.loading import Loading
from lifecycle.mappers.sqlalchemy.model import Model, mapper_of, root_of_hierarchy
from lifecycle.mappers.sqlalchemy.models import Models, configured_mappers, names
from lifecycle.mappers.sqlalchemy.reading import State
from lifecycle.mappers.sqlalchemy.relating import (
    choices,
    mappers_named,
    pointers,
    relation,
)
from lifecycle.mappers.sqlalchemy.restoring import SqlSite
from lifecycle.mappers.sqlalchemy.sessions import Listeners
from lifecycle.mappers.sqlalchemy.sources import SessionSources
from lifecycle.mappers.sqlalchemy.stock import RowStock
from lifecycle.mappers.sqlalchemy.tables import Tables
from lifecycle.mappers.sqlalchemy.targets import (
    accepts,
    claim,
    engine_of,
    may_write,
    overlap,
    release,
    sessions_of,
    unwrapped,
)
from lifecycle.policy import Policy, entity_of, policy_of
from lifecycle.relations import Pointer, Relation
from lifecycle.restoring import Site

__all__ = ["SQLAlchemyMapper"]

_OWNER: Final = "__lifecycle_owner__"
"""Where a session, or a class of them, keeps a weak reference to who listens to it."""


class SQLAlchemyMapper:
    """Sees the flushes of installed sessions, runs hooks around them and records them."""

    records_beside: Final = True

    def __init__(self, services: Services) -> None:
        # Weakly: SQLAlchemy keeps a class's listeners, and so this, for as long as the class lives.
        self._installed: Final[WeakSet[Any]] = WeakSet()
        self._services: Final = services
        self._loading: Final = Loading(services, self._sees, self._doubt)
        self._models: Final = Models(services, self._loading)
        self._listeners: Final = Listeners(services, self._models)
        self._factories: Final[list[ref[sessionmaker[Session]]]] = []
        self._sources: Final = SessionSources()
        self._dialect: Dialect = DefaultDialect()
        self._check_later: Final = _checking(ref(self))

    # --- the Mapper protocol ---

    def accepts(self, target: object) -> bool:
        """Whether the target is an engine, makes SQLAlchemy sessions, or is one."""
        return accepts(target)

    def install(self, target: Any) -> None:
        """Listen to the sessions of a factory or a class, to one session, or to an engine.

        Raises ``InstallError`` when these sessions are seen already, and ``ConfigurationError``
        when a mapped class declares what cannot work.
        """
        self._models.check_declared()
        sessions = claim(target)
        for other in list(self._installed):
            if overlap(sessions, other):
                release(sessions)
                raise InstallError(
                    f"{target!r} is installed already, or shares sessions with {other!r}, which "
                    "is: every write would be recorded twice. Install each session set-up once, "
                    "or uninstall the other first"
                )
        if getattr(sessions, _OWNER, lambda: None)() is not None:
            release(sessions)
            raise InstallError(
                f"another Lifecycle is installed on {target!r}, or on sessions it shares with "
                "others, so every write would be recorded twice: use that one, or uninstall it"
            )
        self._listeners.listen(sessions)
        self._listeners.listen_to_mappers()
        if not event.contains(Mapper, "after_configured", self._check_later):
            event.listen(Mapper, "after_configured", self._check_later)
        setattr(sessions, _OWNER, ref(self))
        factory = unwrapped(target)
        if isinstance(factory, sessionmaker):
            self._factories.append(ref(factory))
        self._sources.add(factory)
        engine = engine_of(target)
        if engine is not None:
            self._dialect = engine.dialect
        self._installed.add(sessions)

    def uninstall(self, target: Any) -> None:
        """Take every listener away. Raises ``InstallError`` when the target is not installed."""
        sessions = sessions_of(target)
        if sessions not in self._installed:
            raise InstallError(f"{target!r} is not installed, so it cannot be uninstalled")
        self._listeners.leave(sessions)
        self._sources.discard(unwrapped(target))
        delattr(sessions, _OWNER)
        release(sessions)
        self._installed.discard(sessions)
        if not self._installed:
            self._listeners.leave_mappers()
            self._loading.forget()
            event.remove(Mapper, "after_configured", self._check_later)

    def check(self, cls: type) -> None:
        """Check what is declared for a class, and for those that inherit from it."""
        self._models.check(cls)

    def subscribed(self) -> None:
        """There are new hooks: listen to the loads of classes that have load hooks now."""
        if self._installed:
            self._models.check_declared()

    def engine_of(self, target: Any) -> Engine | None:
        """The engine a session set-up is bound to, ``None`` when it has none of its own."""
        return engine_of(target)

    def maps(self, cls: type) -> bool:
        """Whether the class, or one that inherits from it, is mapped."""
        return mapper_of(cls) is not None or any(map(self.maps, cls.__subclasses__()))

    def classes(self) -> Iterator[type]:
        """Every mapped class there is, configured if it was not yet."""
        configure_mappers()
        return (mapper.class_ for mapper in configured_mappers())

    def policy(self, cls: type) -> Policy:
        """How a class is recorded, with all that is masked of it."""
        return self._models.get(cls).policy

    def stock(self, cls: type) -> RowStock:
        """All rows of a mapped class, in sessions of an installed factory."""
        return RowStock(self._models.get(cls), self._new)

    def policies(self) -> Iterator[tuple[str, Policy]]:
        """Every mapped class with its policy, by the name of its entity."""
        for mapper in configured_mappers():
            yield entity_of(root_of_hierarchy(mapper)), policy_of(mapper.class_)

    def entity(self, cls: type) -> str:
        """The registered name of a mapped class."""
        return self._models.get(cls).entity

    def entities(self) -> Iterator[str]:
        """The registered names of every mapped class there is."""
        return names()

    def fields(self, entity: str) -> Iterator[str]:
        """The fields and many-to-many collections of the mapped classes of a name."""
        for mapper in mappers_named(entity):
            model = self._models.get(mapper.class_)
            yield from model.names
            yield from (one.name for one in model.many_to_many)

    def lint(self, engine: Any) -> Iterator[Lint]:
        """Remarks on every mapped class that is to be recorded."""
        services = self._services
        tables = Tables(self._models, services.recorder, services.faults)
        return lint_models(
            self._models, tables, services.recorder.wants, engine, self._may_be_written
        )

    def _may_be_written(self, model: Model) -> bool:
        """Whether any installed sessions, or an engine, may write objects of a model."""
        factories = [one for one in (one() for one in self._factories) if one is not None]
        for sessions in list(self._installed):
            own = [one for one in factories if sessions_of(one) is sessions]
            if not own or any(may_write(one, model.mapper) for one in own):
                return True
        return False

    def live(self, engine: Any) -> Iterator[Live]:
        """Every table with recorded rows, in the database of an engine."""
        tables = Tables(self._models, self._services.recorder, self._services.faults)
        return live_tables(tables, engine)

    def relation(self, entity: str, name: str) -> Relation | None:
        """A relationship of a model; ``None`` when no mapped class has the model's name."""
        return relation(self._models, entity, name, self._dialect)

    def pointers(self, entity: str | None, source: str | None) -> Iterator[Pointer]:
        """The foreign keys of mapped tables to objects of models."""
        return pointers(self._models, entity, source, self._dialect)

    def choices(self, entity: str) -> dict[str, dict[Any, str]]:
        """Those of column types that have them, as sqlalchemy-utils' ``ChoiceType`` does."""
        return choices(entity)

    @contextmanager
    def site(self, session: Any) -> Iterator[Site]:
        """The rows that a session reaches: the one given, or one of an installed factory.

        One that was opened here is committed at the end. Raises ``InstallError`` when a row is
        asked for and there is none, or the one given is not installed or has pending changes.
        """
        with ExitStack() as stack:
            opened: list[Session] = []

            def open_() -> Session:
                if not opened:
                    opened.append(self._given(session) or stack.enter_context(self._new()))
                return opened[0]

            refuse = self._listeners.refuse_recorded
            yield SqlSite(open_, self._models, refuse, own=session is None)
            if opened and session is None:
                opened[0].commit()

    def _given(self, session: Any) -> Session | None:
        if session is None:
            return None
        if not isinstance(session, Session):
            raise InstallError(
                f"{session!r} is no Session to restore in: inside an async one use "
                "`await session.run_sync(lambda session: lifecycle.restore.undo(…, "
                "session=session))`"
            )
        if not self._sees(session):
            raise InstallError(
                f"{session!r} is not installed, so what is restored in it would not be recorded: "
                "give one of an installed session set-up"
            )
        if session.new or session.dirty or session.deleted:
            raise InstallError(
                f"{session!r} has pending changes, which a restore would flush along or overwrite: "
                "flush or roll them back first"
            )
        return session

    def _new(self) -> Session:
        for factory in filter(None, (one() for one in self._factories)):
            if sessions_of(factory) in self._installed:
                session: Session = factory()
                return session
        raise InstallError(
            "no installed sessionmaker is there to open a session from: give session=, one of the "
            "sessions you have installed"
        )

    def sees(self, instance: Any) -> bool:
        """Whether the object is in a session that is seen."""
        is_mapped = isinstance(inspect(instance, raiseerr=False), InstanceState)
        session = object_session(instance) if is_mapped else None
        return session is not None and self._sees(session)

    def reaching(self, cls: type) -> AbstractContextManager[Session]:
        """A new session of an installed factory whose database has the table of a class."""
        return self._sources.reaching(cls)

    def key(self, cls: type, identity: Any) -> str:
        """The text of an identity, given as ``Session.get`` takes it.

        Raises ``HistoryError`` when it has not as many parts as the primary key.
        """
        names = self._models.get(cls).identity
        if isinstance(identity, dict):
            identity = tuple(identity.get(name) for name in names)
        parts = identity if isinstance(identity, tuple) else (identity,)
        if len(parts) != len(names):
            raise HistoryError(
                f"{identity!r} has {len(parts)} parts, but {cls.__qualname__} is identified by "
                f"{', '.join(names)}: give a tuple of {len(names)}"
            )
        return key_text(parts)

    def key_of(self, instance: Any) -> str:
        """The text of an object's identity. Raises ``HistoryError`` for one never flushed."""
        try:
            identity = inspect(instance).identity
        except NoInspectionAvailable:
            identity = None
        if identity is None:
            raise HistoryError(
                f"a {type(instance).__qualname__} that was never flushed has no history yet: "
                "add it to a session and flush"
            )
        return key_text(identity)

    def _doubt(self, session: Session, state: State, lock: bool) -> None:
        self._listeners.doubt(session, state, lock=lock)

    def _sees(self, session: Session) -> bool:
        return any(overlap(session, sessions) for sessions in list(self._installed))


def _checking(mapper: ref[SQLAlchemyMapper]) -> Callable[[], None]:
    """Check newly configured classes, for as long as there are sessions it is installed on.

    It is listened to on every mapper there is, so it must not keep a Lifecycle from going.
    """

    def check() -> None:
        alive = mapper()
        if alive is not None and alive._installed:
            alive._models.check_declared()

    return check
