"""Setting up, and what setting up refuses."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    close_all_sessions,
    configure_mappers,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from lifecycle import Lifecycle, audited, post_load, pre_update
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.errors import (
    ConfigurationError,
    HistoryError,
    HookDefinitionError,
    InstallError,
    RecordingError,
    StoreUnreachable,
    TablesMissing,
)
from tests.statements import statements


@pytest.fixture
def user() -> Iterator[Any]:
    """A mapped class of the test's own."""

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    yield User
    Base.registry.dispose()


@pytest.fixture(autouse=True)
def forget_lifecycles() -> Iterator[None]:
    """Let go of the Lifecycles a test made: those alive check every model that is configured."""
    yield
    close_all_sessions()
    gc.collect()
    gc.collect()  # the first lets go of the sessions, the second of what listened to them


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Engine]:
    """Another database."""
    engine = create_engine(f"sqlite:///{tmp_path / 'elsewhere.sqlite'}")
    yield engine
    engine.dispose()


@pytest.fixture
def engine(sqlite_engine: Engine, user: Any) -> Engine:
    """A database with the model's table, and no audit tables."""
    user.metadata.create_all(sqlite_engine)
    return sqlite_engine


def listeners(factory: sessionmaker[Session]) -> dict[str, int]:
    """How many listen to each event of a factory's sessions."""
    dispatch = factory().dispatch
    return {name: len(list(getattr(dispatch, name))) for name in dispatch._event_names}


@pytest.mark.parametrize(
    "make",
    [
        sessionmaker,
        lambda engine: scoped_session(sessionmaker(engine)),
        lambda engine: type("AppSession", (Session,), {}),
        Session,
    ],
    ids=["sessionmaker", "scoped_session", "Session class", "session"],
)
def test_every_session_set_up_can_be_installed(make: Any, engine: Engine, user: Any) -> None:
    """Whatever makes the application's sessions, their writes are recorded."""
    lifecycle = Lifecycle()
    target = make(engine)
    lifecycle.install(target)
    lifecycle.create_tables(engine)
    session = target(engine) if isinstance(target, type) else target
    session = session() if isinstance(session, sessionmaker) else session
    session.add(user(name="Eve"))
    session.commit()
    session.close()
    assert [record.key for record in lifecycle.history.of(user, 1)] == ["1"]
    lifecycle.uninstall(target)


def test_uninstalling_leaves_no_listener_behind(engine: Engine) -> None:
    """Afterwards the session set-up is as it was."""
    factory = sessionmaker(engine)
    before = listeners(factory)
    lifecycle = Lifecycle()
    lifecycle.install(factory)
    assert listeners(factory) != before
    lifecycle.uninstall(factory)
    assert listeners(factory) == before


def test_two_lifecycles_in_one_process_do_not_meet(
    engine: Engine, user: Any, elsewhere: Engine
) -> None:
    """Each sees only the sessions it was installed on."""
    first, second = Lifecycle(), Lifecycle()
    user.metadata.create_all(elsewhere)
    for lifecycle, bind in ((first, engine), (second, elsewhere)):
        factory = sessionmaker(bind)
        lifecycle.install(factory)
        lifecycle.create_tables(bind)
        with factory.begin() as session:
            session.add(user(id=1 if bind is engine else 2, name="Eve"))
    assert [record.key for record in first.history.find()] == ["1"]
    assert [record.key for record in second.history.find()] == ["2"]


def test_installing_twice_is_refused_and_keeps_the_first(engine: Engine, user: Any) -> None:
    """Otherwise every write would be recorded twice."""
    lifecycle, factory = Lifecycle(), sessionmaker(engine)
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    for target in (factory, scoped_session(factory), factory.class_, factory(), Session):
        with pytest.raises(InstallError, match=r"installed already.*uninstall the other first"):
            lifecycle.install(target)
    with factory.begin() as session:
        session.add(user(name="Eve"))
    assert len(list(lifecycle.history.find())) == 1


@pytest.mark.parametrize(
    "target", [None, 1, object(), dict, print], ids=["None", "int", "object", "class", "function"]
)
def test_installing_what_makes_no_sessions_is_refused(target: Any) -> None:
    """The error names the object and what can be installed."""
    with pytest.raises(InstallError, match="cannot be installed: give a sessionmaker"):
        Lifecycle().install(target)


def test_uninstalling_leaves_out_models_that_are_gone() -> None:
    """A registry that is disposed of has taken the listeners of its models along."""

    class Base(DeclarativeBase):
        pass

    class Departed(Base):
        __tablename__ = "departed"
        id: Mapped[int] = mapped_column(primary_key=True)

        @post_load
        def loaded(self) -> None:
            raise AssertionError

    factory = sessionmaker(create_engine("sqlite://"))
    lifecycle = Lifecycle()
    lifecycle.install(factory)
    configure_mappers()
    Base.registry.dispose()
    lifecycle.uninstall(factory)
    with pytest.raises(InstallError):
        lifecycle.uninstall(factory)


def test_uninstalling_what_is_not_installed_is_refused(engine: Engine) -> None:
    """The error says so."""
    with pytest.raises(InstallError, match="is not installed"):
        Lifecycle().uninstall(sessionmaker(engine))


def test_missing_tables_are_named_when_the_first_record_is_made(engine: Engine, user: Any) -> None:
    """The write does not pass unrecorded, and the error says how to make the tables."""
    lifecycle, factory = Lifecycle(), sessionmaker(engine)
    lifecycle.install(factory)
    with pytest.raises(TablesMissing, match=r"create.tables"), factory.begin() as session:
        session.add(user(name="Eve"))
    with factory() as session:
        assert session.query(user).count() == 0
    with pytest.raises(TablesMissing, match=r"create.tables"):
        list(lifecycle.history.of(user, 1))


def test_a_store_that_cannot_be_reached_is_found_when_installing(engine: Engine) -> None:
    """The error names the store without its password, and nothing is installed."""
    lifecycle = Lifecycle(store="postgresql+psycopg://u:s3cret@127.0.0.1:9/none?connect_timeout=2")
    factory = sessionmaker(engine)
    before = listeners(factory)
    with pytest.raises(StoreUnreachable, match=r"u:\*\*\*@127\.0\.0\.1:9/none") as caught:
        lifecycle.install(factory)
    assert "s3cret" not in str(caught.value)
    assert listeners(factory) == before


@pytest.mark.parametrize(
    "store", ["no url", "nosuch://x/y", 1, object()], ids=["text", "dialect", "int", "object"]
)
def test_a_store_that_is_none_is_refused_at_once(store: Any) -> None:
    """The error names what was given."""
    with pytest.raises(ConfigurationError):
        Lifecycle(store=store)


def test_an_unknown_mode_is_refused_at_once() -> None:
    """The error names the modes there are."""
    with pytest.raises(ConfigurationError, match='use "all" or "marked"'):
        Lifecycle(audit="some")  # type: ignore[arg-type]


def test_a_store_elsewhere_cannot_take_the_records_of_a_session(
    engine: Engine, user: Any, elsewhere: Engine
) -> None:
    """The write fails rather than pass unrecorded, until records can be relayed."""
    lifecycle, factory = Lifecycle(store=elsewhere), sessionmaker(engine)
    lifecycle.create_tables(elsewhere)
    lifecycle.install(factory)
    with pytest.raises(RecordingError, match="which is elsewhere"), factory.begin() as session:
        session.add(user(name="Eve"))


def test_a_store_given_as_the_engine_of_the_data_is_beside_it(engine: Engine, user: Any) -> None:
    """Naming the same database as store and as bind records in the same transaction."""
    lifecycle, factory = Lifecycle(store=engine), sessionmaker(engine)
    lifecycle.create_tables(engine)
    lifecycle.install(factory)
    with factory() as session:
        session.add(user(name="Eve"))
        session.flush()
        session.rollback()
        session.add(user(name="Bob"))
        session.commit()
    assert [record.changes.new("name") for record in lifecycle.history.find()] == ["Bob"]


def test_documents_need_a_store(engine: Engine) -> None:
    """Without one there is no place beside the data for their records yet."""
    with pytest.raises(InstallError, match=r"Lifecycle\(store=engine\)"):
        Lifecycle().install(mongoengine)


def test_asking_a_lifecycle_that_knows_no_database_is_refused() -> None:
    """The error says how to tell it."""
    with pytest.raises(ConfigurationError, match="does not know its database yet"):
        list(Lifecycle().history.find())


def test_a_hook_for_a_class_that_is_not_mapped_is_refused_when_subscribed(user: Any) -> None:
    """A typo in the target is found at once; a mixin of a mapped class is fine."""

    class NotMapped:
        pass

    @pre_update(NotMapped)
    def hook(event: Any) -> None: ...

    @pre_update(user.__base__)
    def fine(event: Any) -> None: ...

    lifecycle = Lifecycle()
    with pytest.raises(HookDefinitionError, match="NotMapped, which is not mapped"):
        lifecycle.subscribe(hook)
    assert lifecycle.subscribe(fine) is fine


def test_asking_about_a_class_that_is_not_mapped_is_refused() -> None:
    """The error names the class."""
    with pytest.raises(HistoryError, match="int is not mapped"):
        list(Lifecycle(store=MemoryStore()).history.of(int, 1))


def test_a_model_is_asked_about_by_its_registered_name(user: Any) -> None:
    """It is known before anything of it is used; the name of a class that inherits is no other."""

    @audited(entity="shop.Freight")
    class Freight(user.__mro__[1]):
        __tablename__ = "cargoes"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Bulky(Freight):
        """Kept in the table of cargoes."""

    class Ship(mongoengine.Document):
        meta = {"allow_inheritance": True}

    class Ferry(Ship):
        """Kept in the collection of ships."""

    history = Lifecycle(store=MemoryStore()).history
    for name in ("User", "shop.Freight", "Ship"):
        assert list(history.of(name, 1)) == []
    for name in ("Freight", "Bulky", "Ferry", "Usr"):
        with pytest.raises(HistoryError, match=f"no model is called '{name}'"):
            list(history.of(name, 1))


@pytest.mark.parametrize("target", [(object(),), (7,), (object, 1), (int, 1), (type, 1)])
def test_what_is_no_model_has_no_history(target: tuple[Any, ...], user: Any) -> None:
    """Whatever it is."""
    with pytest.raises(HistoryError, match="is not mapped, so it has no history"):
        list(Lifecycle(store=MemoryStore()).history.of(*target))


def test_a_policy_on_an_unknown_field_is_found_when_installing(engine: Engine, user: Any) -> None:
    """A misspelt mask would leave a secret in the log, so it is an error, not a shrug."""
    audited(mask={"pasword"})(user)
    user.registry.configure()
    with pytest.raises(ConfigurationError, match=r"names pasword.*its fields are id, name"):
        Lifecycle().install(sessionmaker(engine))


def test_without_sessions_left_it_checks_no_models(engine: Engine, user: Any) -> None:
    """A Lifecycle whose sessions are gone has no say in what others declare."""
    lifecycle = Lifecycle()
    lifecycle.install(sessionmaker(engine))
    gc.collect()
    audited(mask={"pasword"})(user)
    user.registry.configure()
    with pytest.raises(ConfigurationError, match="names pasword"):
        lifecycle.install(sessionmaker(engine))


def test_two_classes_of_one_name_are_told_apart_by_force(engine: Engine, user: Any) -> None:
    """The second class to be written is refused until it has a name of its own."""

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "other_users"
        id: Mapped[int] = mapped_column(primary_key=True)

    Base.metadata.create_all(engine)
    lifecycle, factory = Lifecycle(), sessionmaker(engine)
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    with factory.begin() as session:
        session.add(user(name="Eve"))
    refused = pytest.raises(ConfigurationError, match="both be 'User' in the log")
    with refused, factory.begin() as session:
        session.add(User())
    Base.registry.dispose()


def test_reading_and_clean_objects_add_no_statement(engine: Engine, user: Any) -> None:
    """A session that changes nothing runs exactly the statements it ran before."""
    lifecycle, factory = Lifecycle(), sessionmaker(engine)
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    with factory.begin() as session:
        session.add_all([user(name="Eve"), user(name="Bob")])
    with statements(engine) as executed, factory.begin() as session:
        session.query(user).all()
        session.flush()
    assert len(executed) == 1


def test_importing_lifecycle_imports_no_orm() -> None:
    """Either ORM, and everything optional, may be missing."""
    missing = ("sqlalchemy", "mongoengine", "pymongo", "bson", "starlette", "jinja2", "click")
    code = f"""
import sys
import weakref
for name in {missing!r}:
    sys.modules[name] = None
import lifecycle, lifecycle.audit.stores.memory
lifecycle.Lifecycle(store=lifecycle.audit.stores.memory.MemoryStore())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_lifecycle_goes_with_the_sessions_it_was_installed_on(engine: Engine, user: Any) -> None:
    """Neither keeps the other alive, nor does a class whose loads it listens to."""
    lifecycle, factory = Lifecycle(), sessionmaker(engine)
    lifecycle.subscribe(post_load(user)(lambda event: None))
    user.registry.configure()
    lifecycle.install(factory)
    gone = weakref.ref(lifecycle.history)
    del lifecycle, factory
    gc.collect()
    gc.collect()  # the first lets go of the sessions, the second of what listened to them
    assert gone() is None


def test_a_second_lifecycle_on_the_same_sessions_is_refused(engine: Engine) -> None:
    """A cell of a notebook that is run again would record everything twice."""
    first, second, factory = Lifecycle(), Lifecycle(), sessionmaker(engine)
    first.install(factory)
    for target in (factory, factory()):
        with pytest.raises(InstallError, match="another Lifecycle is installed"):
            second.install(target)
    first.uninstall(factory)
    second.install(factory)


def test_a_condition_on_an_unknown_field_is_found_when_its_hook_is_subscribed(user: Any) -> None:
    """The hook is not added, and the error names the fields there are."""
    user.registry.configure()

    @pre_update(user, when="nmae")
    def hook(event: Any) -> None: ...

    with pytest.raises(HookDefinitionError, match=r"asks about 'nmae'.*it has id, name"):
        Lifecycle().subscribe(hook)


def test_a_label_that_names_nothing_is_found_when_installing(engine: Engine, user: Any) -> None:
    """Not with the first write."""
    audited(label="nmae")(user)
    user.registry.configure()
    with pytest.raises(ConfigurationError, match=r"label=.nmae.*its fields are id, name"):
        Lifecycle().install(sessionmaker(engine))


@pytest.mark.parametrize("keyword", ["audit", "bulk", "after_commit", "on_error"])
def test_a_mode_that_is_none_is_refused(keyword: str) -> None:
    """The error tells those there are."""
    with pytest.raises(ConfigurationError, match=rf"^{keyword}='no' is not known: use \".* or "):
        Lifecycle(**{keyword: "no"})  # type: ignore[arg-type]
