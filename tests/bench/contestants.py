"""Who is compared: plain SQLAlchemy, Lifecycle, and its peers as their documentation says."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from lifecycle import Lifecycle
from tests.bench.models import declare

__all__ = ["CONTESTANTS", "PEERS", "Contestant", "Keeper"]


class Contestant:
    """Plain SQLAlchemy, which the others are compared with; they change what it does.

    Every contestant runs in a process of its own, for the peers change SQLAlchemy's classes for
    good. They are imported there, when they are set up.
    """

    name: str = "plain"
    package: str | None = None
    """The distribution it needs."""
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    log: str | None = None
    """The table that gets a row for each recorded change."""
    records_statements: bool = False
    """Whether it claims to record what ``update(Model)`` writes."""

    @property
    def missing(self) -> str:
        """Why it cannot run here; "" when it can."""
        try:
            return self.version and ""
        except PackageNotFoundError:
            return f"{self.package} is not installed; make bench installs it"

    @property
    def version(self) -> str:
        """The version of what it needs; raises ``PackageNotFoundError``."""
        return version(self.package) if self.package else ""

    def begin(self, base: type[DeclarativeBase]) -> None:
        """Prepare for the models that will be declared on a base."""

    def install(
        self, base: type[DeclarativeBase], engine: Engine, sessions: sessionmaker[Session]
    ) -> None:
        """Make the tables, and see what the sessions write from now on."""
        base.metadata.create_all(engine)

    def set_up(self, engine: Engine, sessions: sessionmaker[Session]) -> type[Any]:
        """Do all of this, and give the model."""

        class Base(DeclarativeBase):
            pass

        self.begin(Base)
        model = declare(Base)
        Base.registry.configure()
        self.install(Base, engine, sessions)
        return model


class Idle(Contestant):
    """Lifecycle installed for its hooks, of which there are none."""

    name = "lifecycle-off"
    audit: Any = "marked"

    def install(
        self, base: type[DeclarativeBase], engine: Engine, sessions: sessionmaker[Session]
    ) -> None:
        """Its tables are there in any case, as in an application."""
        super().install(base, engine, sessions)
        self._lifecycle = Lifecycle(audit=self.audit)
        self._lifecycle.install(sessions)
        self._lifecycle.create_tables(engine)


class Keeper(Idle):
    """Lifecycle with its log beside the data."""

    name = "lifecycle"
    audit = "all"
    log = "lifecycle_change"
    records_statements = True


class Continuum(Contestant):
    """SQLAlchemy-Continuum: ``make_versioned()``, and a version table for each model."""

    name = "continuum"
    package = "sqlalchemy-continuum"
    log = "bench_item_version"

    def begin(self, base: type[DeclarativeBase]) -> None:
        """It has to come before the models."""
        from sqlalchemy_continuum import make_versioned

        make_versioned(user_cls=None)


class PostgresqlAudit(Contestant):
    """postgresql-audit: triggers that write into its activity table."""

    name = "postgresql-audit"
    package = "postgresql-audit"
    databases = ("postgresql",)
    log = "activity"
    records_statements = True

    def begin(self, base: type[DeclarativeBase]) -> None:
        """It has to come before the models."""
        from postgresql_audit import versioning_manager

        versioning_manager.init(base)
        # Without any value it writes no row about the transaction, which all others do.
        versioning_manager.values = {"actor_id": "bench"}

    def install(
        self, base: type[DeclarativeBase], engine: Engine, sessions: sessionmaker[Session]
    ) -> None:
        """Its own tables come first: with them it makes the functions that its triggers call."""
        from postgresql_audit import versioning_manager

        for cls in (versioning_manager.transaction_cls, versioning_manager.activity_cls):
            cls.__table__.create(engine)
        super().install(base, engine, sessions)


CONTESTANTS: Final = (Contestant(), Idle(), Keeper(), Continuum(), PostgresqlAudit())
PEERS: Final = tuple(one.name for one in CONTESTANTS if one.package)
