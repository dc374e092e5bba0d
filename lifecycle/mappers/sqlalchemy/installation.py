"""Installing into the session set-up an application already has."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet, ref

from sqlalchemy import Engine, event, inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import (
    Mapper as ORMMapper,
)
from sqlalchemy.orm import (
    ORMExecuteState,
    Session,
    SessionTransaction,
    UOWTransaction,
    scoped_session,
    sessionmaker,
)
from sqlalchemy.sql.dml import UpdateBase

from lifecycle.errors import HistoryError, InstallError, UnrecordedWriteWarning
from lifecycle.keys import key_text
from lifecycle.mappers.base import Services
from lifecycle.mappers.sqlalchemy.flush import Flush
from lifecycle.mappers.sqlalchemy.model import mapper_of
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.transactions import Transcript

__all__ = ["SQLAlchemyMapper"]


class SQLAlchemyMapper:
    """Sees the flushes of installed sessions, runs hooks around them and records them."""

    def __init__(self, services: Services) -> None:
        self._services: Final = services
        self._models: Final = Models(services)
        # Weakly: SQLAlchemy keeps a class's listeners, and so this, for as long as the class lives.
        self._installed: Final[WeakSet[Any]] = WeakSet()
        self._listeners: Final[tuple[tuple[str, Callable[..., None]], ...]] = (
            ("before_flush", self._before_flush),
            ("after_flush", self._after_flush),
            ("after_commit", self._after_commit),
            ("after_transaction_end", self._after_transaction_end),
            ("do_orm_execute", self._do_orm_execute),
        )
        self._check_later: Final = _checking(ref(self._models))

    # --- the Mapper protocol ---

    records_beside: Final = True

    def accepts(self, target: object) -> bool:
        """Whether the target is a session factory, a Session class or a session."""
        return isinstance(target, sessionmaker | scoped_session | Session) or (
            isinstance(target, type) and issubclass(target, Session)
        )

    def install(self, target: Any) -> None:
        """Listen to the sessions of a factory, a class, or to one session.

        Raises ``InstallError`` when these sessions are seen already, and ``ConfigurationError``
        when a mapped class declares what cannot work.
        """
        where = _sessions_of(target)
        for other in list(self._installed):
            if _overlap(where, other):
                raise InstallError(
                    f"{target!r} is installed already, or shares sessions with {other!r}, which "
                    "is: every write would be recorded twice. Install each session set-up once, "
                    "or uninstall the other first"
                )
        self._models.check_declared()
        for name, listener in self._listeners:
            event.listen(where, name, listener)
        if not event.contains(ORMMapper, "after_configured", self._check_later):
            event.listen(ORMMapper, "after_configured", self._check_later)
        self._installed.add(where)

    def uninstall(self, target: Any) -> None:
        """Take every listener away. Raises ``InstallError`` when the target is not installed."""
        where = _sessions_of(target)
        if where not in self._installed:
            raise InstallError(f"{target!r} is not installed, so it cannot be uninstalled")
        for name, listener in self._listeners:
            event.remove(where, name, listener)
        self._installed.discard(where)
        if not self._installed:
            event.remove(ORMMapper, "after_configured", self._check_later)

    def engine_of(self, target: Any) -> Engine | None:
        """The engine a session set-up is bound to, ``None`` when it has none of its own."""
        if isinstance(target, scoped_session):
            target = target.session_factory
        bind = target.kw.get("bind") if isinstance(target, sessionmaker) else None
        if isinstance(target, Session):
            bind = target.bind
        return None if bind is None else bind.engine

    def maps(self, cls: type) -> bool:
        """Whether the class, or one that inherits from it, is mapped."""
        return mapper_of(cls) is not None or any(map(self.maps, cls.__subclasses__()))

    def entity(self, cls: type) -> str:
        """The registered name of a mapped class."""
        return self._models.get(cls).entity

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

    # --- what the sessions tell ---

    def _before_flush(self, session: Session, context: UOWTransaction, instances: Any) -> None:
        flush = Flush(session, self._models, self._services)
        session.info[self, "flush"] = flush
        flush.before()

    def _after_flush(self, session: Session, context: UOWTransaction) -> None:
        flush: Flush | None = session.info.pop((self, "flush"), None)
        if flush is not None:  # installed from within this very flush
            flush.after(context, self._transcript(session))

    def _after_commit(self, session: Session) -> None:
        savepoint = session.get_nested_transaction()
        if savepoint is not None:
            self._transcript(session).released(savepoint)

    def _after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        self._transcript(session).ended(transaction)

    def _do_orm_execute(self, execution: ORMExecuteState) -> None:
        """Tell of a statement that changes recorded rows past the unit of work."""
        statement = execution.statement
        if not isinstance(statement, UpdateBase):
            return
        mapper = execution.bind_mapper
        if mapper is None:
            return
        model = self._models.concerned(mapper.class_)
        if model is not None and self._services.recorder.wants(model.policy):
            verb = type(statement).__name__.lower()
            warnings.warn(
                f"session.execute({verb}({model.cls.__qualname__})) changes rows of "
                f"{model.entity} that are not recorded: bulk statements pass the unit of work by. "
                "Change the objects instead, or take the model out with @not_audited",
                UnrecordedWriteWarning,
                stacklevel=2,
            )

    def _transcript(self, session: Session) -> Transcript:
        transcript: Transcript | None = session.info.get((self, "transcript"))
        if transcript is None:
            transcript = session.info[self, "transcript"] = Transcript(self._services)
        return transcript


def _checking(models: ref[Models]) -> Callable[[], None]:
    """Check newly configured classes, for as long as somebody else keeps the models alive.

    It is listened to on every mapper there is, so it must not keep a Lifecycle from going.
    """

    def check() -> None:
        alive = models()
        if alive is not None:
            alive.check_declared()

    return check


def _sessions_of(target: Any) -> Any:
    """The class whose sessions are meant, or the one session."""
    if isinstance(target, scoped_session):
        target = target.session_factory
    return target.class_ if isinstance(target, sessionmaker) else target


def _overlap(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, type) and isinstance(other, type):
        return issubclass(one, other) or issubclass(other, one)
    if isinstance(one, type):
        return isinstance(other, one)
    return isinstance(other, type) and isinstance(one, other)
