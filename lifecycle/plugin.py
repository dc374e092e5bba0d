"""`Lifecycle`: installs into what an application has, and owns everything that follows from it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args
from uuid import UUID
from weakref import WeakKeyDictionary

from lifecycle.adapters import Adapters
from lifecycle.audit.history import History
from lifecycle.audit.privacy import Privacy
from lifecycle.audit.proving import Evidence
from lifecycle.audit.reconciling import Settled, reconciled
from lifecycle.audit.recorder import AuditMode, Durability, Recorder
from lifecycle.audit.records import Record
from lifecycle.audit.restore import Restore
from lifecycle.audit.store import AuditStore
from lifecycle.audit.stores.opening import opened
from lifecycle.audit.watching import Progress, watched
from lifecycle.behaviours.migrations import Migrations
from lifecycle.behaviours.references.service import References
from lifecycle.context import Suppression
from lifecycle.coverage import Coverage, Gaps
from lifecycle.describing import Description, describe
from lifecycle.dispatch import Dispatcher
from lifecycle.errors import (
    ConfigurationError,
    HookDefinitionError,
    InstallError,
    RecordingError,
    TablesMissing,
)
from lifecycle.faults import ON_ERROR, Faults, OnError
from lifecycle.hooks import subscribed_hooks
from lifecycle.linting import Lint
from lifecycle.mappers.base import AfterCommit, Entities, Live, Services
from lifecycle.models import Models
from lifecycle.policy import BULK_MODES, BulkMode, masking
from lifecycle.restoring import Site
from lifecycle.signals import Signals

if TYPE_CHECKING:
    from os import PathLike

    from sqlalchemy import Connection, Engine, MetaData

    from lifecycle.audit.stores.sql import SqlStore

__all__ = ["Lifecycle"]

T = TypeVar("T")

_ADAPTERS: Final = {"sqlalchemy": "SQLAlchemyMapper", "mongoengine": "MongoengineMapper"}
"""The adapter class for each library, imported when the application has imported the library."""


class Lifecycle:
    """Hooks and the audit trail of one application.

    ``store`` says where records go. ``None``: beside the data, in the same SQL database and the
    same transaction. A database URL, an ``Engine``, a pymongo ``Database`` or an `AuditStore`:
    there; SQLAlchemy sessions must then write to that same database. ``audit`` is ``"all"`` to
    record every mapped class but those marked ``@not_audited``, or ``"marked"`` for only those
    marked ``@audited``. ``bulk`` is the `BulkMode` of models that have none of their own.
    ``origin`` names this application in its revisions. ``after_commit`` says what becomes of errors
    in ``post_commit`` hooks, which cannot undo anything: ``"log"`` them only, or ``"raise"`` them
    as one ``ExceptionGroup`` when all hooks have run. ``on_error`` says what becomes of a change
    that cannot be recorded in full; see below.

    ``mask_types`` are classes of column types and document fields, and ``mask_names`` patterns such
    as ``"*password*"``, whose values are recorded nowhere, as with ``@audited(mask=…)``. Patterns
    are also those of keys inside JSON and other maps. A field with embedded documents is masked as
    a whole when they declare such a field.

    With ``on_error="fail"`` it raises ``RecordingError``, which names entity, key, field and cause.
    A flush is undone by that. A statement has run by then, so its transaction refuses to commit
    until it, or a savepoint from before the statement, has been rolled back. A document has been
    written.

    With ``on_error="report"`` the change passes. A value that its column type refuses or that the
    log cannot encode is recorded as ``UNKNOWN``, a label that cannot be made as ``None``, and a
    statement whose rows cannot be read as a whole, like with ``bulk="statement"``. The record's
    ``error`` says what is missing and why, an ``UnrecordedWriteWarning`` tells of each kind once,
    and `coverage` counts them. It covers nothing else: a key without a text, and records that
    the database refuses (missing tables, no connection), fail as with ``"fail"``.

    ``durability`` is about documents whose log is in another database, or written outside of a
    transaction: the two cannot commit as one. With ``"intent"`` the log is told of each write
    before it is made, and `reconcile` settles what a crash has left between the two; a document
    whose intent cannot be stored is not written. A write of many documents is told by portions of
    500, and one of a single document that is not at hand takes a look at it first. Not told are
    inserts by upsert, and writes that are recorded as a whole (``bulk="statement"``). ``"fast"``
    saves those round trips, and after a crash the log may lack a write.

    With ``strict`` old values are those that the write itself overwrites, whatever others have
    written since the object was loaded. Of a document's save or delete they come with the write, in
    the same round trip. A flush reads the rows it is going to update or delete before that and
    locks them, with one SELECT for each model; SQLite has no such lock.

    No error, record or warning of this repeats a value.

    ``signals`` are the moments as blinker signals; see `Signals`. ``models`` knows what they are
    called in the log, and how they refer to each other.

    Two instances share nothing. Raises ``ConfigurationError`` for a store or a mode that is none.
    """

    def __init__(
        self,
        store: Any = None,
        *,
        audit: AuditMode = "all",
        bulk: BulkMode = "rows",
        origin: str | None = None,
        after_commit: AfterCommit = "log",
        on_error: OnError = "fail",
        durability: Durability = "intent",
        strict: bool = False,
        mask_types: Iterable[type] = (),
        mask_names: Iterable[str] = (),
    ) -> None:
        for name, value, known in (
            ("audit", audit, ("all", "marked")),
            ("bulk", bulk, BULK_MODES),
            ("after_commit", after_commit, ("log", "raise")),
            ("on_error", on_error, ON_ERROR),
            ("durability", durability, get_args(Durability)),
        ):
            _check(name, value, known)
        self._separate: Final = store is not None
        self._store: AuditStore | None = None if store is None else opened(store)
        self._dispatcher: Final = Dispatcher()
        self._stores_beside: Final[WeakKeyDictionary[Engine, SqlStore]] = WeakKeyDictionary()
        gaps = Gaps()
        faults = Faults(on_error, gaps)
        self._services: Final = Services(
            dispatcher=self._dispatcher,
            recorder=Recorder(
                beside=self._beside,
                store=lambda: self.store,
                mode=audit,
                origin=origin,
                faults=faults,
                joins=self._joins,
                durability=durability,
            ),
            entities=Entities(),
            suppression=Suppression(),
            faults=faults,
            gaps=gaps,
            bulk=bulk,
            after_commit=after_commit,
            strict=strict,
            masking=masking(mask_types, mask_names),
        )
        self._adapters: Final = Adapters(self._services)
        self.signals: Final = Signals(self._dispatcher)
        self.references: Final = References(self._adapters, self._dispatcher)
        self.models: Final = Models(self._adapters, self.references)
        self.history: Final = History(lambda: self.store, self.models)
        self.evidence: Final = Evidence(lambda: self.store, self._live)
        self.privacy: Final = Privacy(lambda: self.store, self.models, self.history)
        self.restore: Final = Restore(self.history, self.models, self._sites)

    # --- setting up ---

    def install(self, target: Any) -> None:
        """See the writes of a session set-up, or of documents, from now on.

        ``target`` is a ``sessionmaker``, ``scoped_session``, ``Session`` class or session; an
        ``Engine``, for Core statements outside of sessions, which run no hooks; or the
        ``mongoengine`` module, a ``Document`` class, or the alias of a mongoengine connection, for
        the classes whose ``meta`` names it. Raises ``InstallError`` for anything else
        and for what is installed already, ``StoreUnreachable`` when a store was given that cannot
        be reached, and ``ConfigurationError`` when a model declares what cannot work (models whose
        mapping is not configured yet are checked when it is); then nothing has been installed.
        """
        mapper = self._adapters.accepting(target)
        if self._separate:
            with suppress(TablesMissing):  # they may be made later; the first record tells
                self.store.check()
        elif not mapper.records_beside:
            raise InstallError(
                f"{target!r} cannot be installed without a store, for records of documents need "
                "a place to go: give one, as in Lifecycle(store=engine)"
            )
        mapper.install(target)
        engine = mapper.engine_of(target)
        if self._store is None and engine is not None:
            self._store = opened(engine)

    def uninstall(self, target: Any) -> None:
        """Leave a target as it was before `install`.

        Raises ``InstallError`` when it is not installed.
        """
        self._adapters.accepting(target).uninstall(target)

    def subscribe(self, listener: T) -> T:
        """Add hooks from outside the models: a marked function, or an object or class of them.

        Returns the listener, so it can decorate one. Hooks without target classes are called for
        every mapped class. Raises ``HookDefinitionError`` when a hook cannot be called as
        ``f(event)``, when its condition asks about an unknown field, or when a target is not
        mapped and no mapped class inherits from it: subscribe after the models are declared.
        """
        if isinstance(listener, type) and self._adapters.maps(listener):
            raise HookDefinitionError(
                f"{listener.__qualname__} is mapped, so its own hooks run without subscribing it"
            )
        for hook in subscribed_hooks(listener):
            for target in hook.mark.targets:
                if not self._adapters.maps(target):
                    raise HookDefinitionError(
                        f"{hook.name}, marked @{hook.mark.moment}, is for {target.__qualname__}, "
                        "which is not mapped, nor is any class that inherits from it: "
                        "declare the models before subscribing to them"
                    )
                for mapper in self._adapters:
                    mapper.check(target)
        self._dispatcher.subscribe(listener)
        for mapper in self._adapters:
            mapper.subscribed()
        return listener

    @contextmanager
    def suppressed(self, *, hooks: bool = True, audit: bool = True) -> Iterator[None]:
        """Switch hooks, the log or both off for what the running thread or task does inside.

        Meant for imports, repairs and tests. What is written without the log is in no history.
        """
        with self._services.suppression(hooks=hooks, audit=audit):
            yield

    @contextmanager
    def bulk(self, mode: BulkMode) -> Iterator[None]:
        """Record bulk writes so, in what the running thread or task does inside the block.

        It goes before what the models and the Lifecycle say; the execution option
        ``lifecycle_bulk`` of a statement goes before it. Raises ``ConfigurationError`` for a mode
        that is none.
        """
        _check("bulk", mode, BULK_MODES)
        with self._services.bulk_here(mode):
            yield

    def coverage(self) -> Coverage:
        """What is recorded, and which writes were seen in this process that are not."""
        found = dict(policy for mapper in self._adapters for policy in mapper.policies())
        wanted = {name for name, policy in found.items() if self._services.recorder.wants(policy)}
        return Coverage(
            recorded=tuple(sorted(wanted)),
            not_recorded=tuple(sorted(found.keys() - wanted)),
            unrecorded=self._services.gaps.all(),
        )

    def lint(self, engine: Any = None) -> list[Lint]:
        """What about the models could leave the log wanting, or saying too much.

        ``engine`` is the SQL database to look at, by default the one of the log, if there is one;
        of JSON in it some rows are read, for names that look secret.
        """
        place = getattr(self._store, "engine", None) if engine is None else engine
        return sorted(one for mapper in self._adapters for one in mapper.lint(place))

    def describe(self) -> Description:
        """Every mapped class with its hooks in order, behaviours, references and policies."""
        return describe(
            self._adapters.named(),
            self._dispatcher.plan,
            self._services.recorder.wants,
        )

    @property
    def migrations(self) -> Migrations:
        """The lazy migrations of the models: who is at which version, and a run over the rest."""
        return Migrations(self._adapters)

    def create_tables(self, engine: Engine | None = None) -> None:
        """Create the audit tables that are missing, in the database of an engine.

        Without an engine, in the store that was given: its tables, or in a MongoDB its indexes. For
        an ``AsyncEngine``: ``await connection.run_sync(lifecycle.metadata.create_all)``. Raises
        ``ConfigurationError`` when there is nowhere to create them.
        """
        if hasattr(engine, "sync_engine"):
            raise ConfigurationError(
                f"create_tables({engine!r}) cannot wait for an async engine: inside "
                "`async with engine.begin() as connection` use "
                "`await connection.run_sync(lifecycle.metadata.create_all)`"
            )
        if engine is None:
            create = getattr(self.store, "create_tables", None)
            if create is not None:  # a store without the method has nothing to create
                create()
            return
        from lifecycle.audit.stores.sql import SqlStore

        store = SqlStore(engine)
        store.create_tables()
        if self._store is None:
            self._store = store

    def reconcile(
        self,
        *,
        older_than: timedelta = timedelta(minutes=1),
        dry_run: bool = False,
        said: Mapping[UUID, bool] | None = None,
    ) -> list[Settled]:
        """Settle what a crash has left between the writes of documents and their records.

        Each change that was announced and never recorded is confirmed if its document shows that
        it was made, removed if it was not, and left, saying why, if that cannot be told. Those of
        the last ``older_than`` may be under way, and are left too; with ``dry_run`` all are.
        Several processes may do this at once. mongoengine has to be connected to where the
        documents are.

        Who has looked for themselves may say whether what cannot be told was made: ``said`` has
        that by the id of the revision, and the log has who said it, as a ``lifecycle.Decision``.
        Raises ``ConfigurationError`` for a store that keeps no intents, and ``UnknownRevision``
        when it is said of a revision that has none.
        """
        from lifecycle.mappers.mongoengine.tracing import connected, looking_at

        look = looking_at(connected)
        settling = reconciled(self.store, look, older_than=older_than, dry_run=dry_run, said=said)
        return list(settling)

    def watch(
        self,
        progress: str | PathLike[str],
        *,
        alias: str = "default",
        patience: timedelta = timedelta(seconds=5),
        until_idle: bool = False,
    ) -> Iterator[Record]:
        """Record what other programs write to documents, by MongoDB's change stream.

        It listens to the database of a connection, by its alias, for as long as it is iterated
        over, or with ``until_idle`` until it has caught up, and gives each record that it makes.
        ``progress`` is the file that keeps how far it has come, and where it goes on; without one
        it begins now. It may be ended, or killed, at any place, and loses and doubles nothing.

        What Lifecycle itself wrote is in the log, or announced there, and is passed over: each
        write is looked for when the log has had ``patience`` to get it. What was written with the
        log switched off, and what ``bulk="off"`` leaves out, is recorded here. Old values are those
        of the server's pre-images where a collection keeps them, else ``UNKNOWN``.

        Raises ``ConfigurationError`` for a MongoDB without change streams (a single server that is
        no replica set) and where no documents are recorded; ``RecordingError`` when the server has
        not kept what came since; and as the store does.
        """
        kept = Progress(progress)
        with self._adapters.of_documents().listening(alias, kept.token, until_idle) as heards:
            yield from watched(heards, self.store, self._services.recorder.wants, kept, patience)

    def without_images(self, alias: str = "default") -> list[str]:
        """The collections of which `watch` will not know old values, for they keep no pre-images.

        MongoDB 6 keeps them once told: ``{"collMod": …, "changeStreamPreAndPostImages": {"enabled":
        True}}``. Raises as `watch` does.
        """
        return self._adapters.of_documents().without_images(alias)

    @property
    def metadata(self) -> MetaData:
        """The audit tables, for Alembic or any other tool that manages the schema."""
        from lifecycle.audit.stores.sql import audit_tables

        return audit_tables().metadata

    # --- using ---

    @property
    def store(self) -> AuditStore:
        """Where the history is read from.

        Without a ``store=`` it is the database of the first session set-up with an engine of its
        own, or of `create_tables`. Raises ``ConfigurationError`` while neither is known.
        """
        if self._store is None:
            raise ConfigurationError(
                "this Lifecycle does not know its database yet: install a session set-up that is "
                "bound to an engine, call create_tables(engine), or give Lifecycle(store=engine)"
            )
        return self._store

    @contextmanager
    def _sites(self, session: Any) -> Iterator[Sequence[Site]]:
        """The objects of every mapper, committed together at the end of the block."""
        with ExitStack() as stack:
            yield [stack.enter_context(mapper.site(session)) for mapper in self._adapters]

    def _joins(self, session: Any) -> bool:
        """Whether the store is in the MongoDB of a session, so that both commit as one."""
        if "lifecycle.audit.stores.mongo" not in sys.modules:
            return False
        from lifecycle.audit.stores.mongo import MongoStore

        return isinstance(self._store, MongoStore) and self._store.is_beside(session)

    def _beside(self, connection: Any) -> Any:
        """The store in the database this connection, or session of documents, goes to."""
        if type(connection).__module__.startswith("pymongo."):
            return self._store

        return self._beside_sql(connection)

    def _beside_sql(self, connection: Connection) -> SqlStore:
        from lifecycle.audit.stores.sql import SqlStore

        if self._separate:
            if isinstance(self._store, SqlStore) and self._store.is_beside(connection):
                return self._store
            raise RecordingError(
                f"a write to {connection.engine.url!r} cannot be recorded in {self._store!r}, "
                "which is elsewhere, so the two could not commit as one: "
                "use Lifecycle() without store= to record beside the data"
            )
        store = self._stores_beside.get(connection.engine)
        if store is None:
            store = self._stores_beside[connection.engine] = SqlStore(connection.engine)
        if self._store is None:
            self._store = store
        return store

    def _live(self, engine: Engine | None) -> Iterator[Live]:
        """Every table and collection with recorded objects, as it is now."""
        place = getattr(self.store, "engine", None) if engine is None else engine
        for mapper in self._adapters:
            if mapper.records_beside and place is None:
                raise ConfigurationError(
                    "the log is not in a SQL database, so it is not known where the tables are: "
                    "give the engine of the data, as in evidence.compare(engine)"
                )
            yield from mapper.live(place)


def _check(name: str, value: Any, known: Iterable[str]) -> None:
    if value not in known:
        choices = " or ".join(f'"{one}"' for one in known)
        raise ConfigurationError(f"{name}={value!r} is not known: use {choices}")
