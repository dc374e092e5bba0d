"""Every kind of session set-up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import String, create_engine, select
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_object_session,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from lifecycle import Lifecycle, acting, pre_persist
from lifecycle.errors import ConfigurationError, HookDefinitionError, InstallError

pytestmark = pytest.mark.asyncio


@pytest.fixture
def user(base: type[DeclarativeBase]) -> Any:
    """A model with an async hook."""

    class User(base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(50))

    return User


@pytest_asyncio.fixture
async def async_engine(
    tmp_path: Path, lifecycle: Lifecycle, user: Any
) -> AsyncIterator[AsyncEngine]:
    """A database with the tables of the model and of the log."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'async.sqlite'}")
    async with engine.begin() as connection:
        await connection.run_sync(user.metadata.create_all)
        await connection.run_sync(lifecycle.metadata.create_all)
    yield engine
    await engine.dispose()


async def records(lifecycle: Lifecycle, session: AsyncSession) -> list[tuple[Any, Any]]:
    """The actors and names recorded, oldest first."""
    return await session.run_sync(
        lambda _: [
            (record.actor, record.changes.new("name"))
            for record in lifecycle.history.find(newest_first=False)
        ]
    )


@pytest.mark.parametrize("kind", ["factory", "scoped", "class", "session"])
async def test_async_sessions_are_recorded_and_their_async_hooks_awaited(
    kind: str, lifecycle: Lifecycle, user: Any, async_engine: AsyncEngine
) -> None:
    """Hooks may query through the session, and see who acts."""

    class AppSession(AsyncSession):
        pass

    factory = async_sessionmaker(async_engine, class_=AppSession)
    made = factory()
    targets: dict[str, Any] = {
        "factory": factory,
        "scoped": async_scoped_session(factory, scopefunc=lambda: 1),
        "class": AppSession,
        "session": made,
    }

    @lifecycle.subscribe
    @pre_persist(user)
    async def count(event: Any) -> None:
        session = async_object_session(event.instance)
        assert session is not None
        others = await session.scalars(select(user))
        event.instance.name += f" after {len(others.all())}"

    lifecycle.install(targets[kind])
    async with made if kind == "session" else factory() as session:
        with acting("ann"):
            session.add(user(name="Eve"))
            await session.commit()
        assert await records(lifecycle, session) == [("ann", "Eve after 0")]
    lifecycle.uninstall(targets[kind])
    async with factory() as session:
        session.add(user(name="Bob"))
        await session.commit()
        assert len(await records(lifecycle, session)) == 1


async def test_installing_an_async_factory_leaves_other_sessions_alone(
    lifecycle: Lifecycle, user: Any, async_engine: AsyncEngine
) -> None:
    """It gets a session class of its own, and is given its old one back."""
    factory = async_sessionmaker(async_engine)
    before = dict(factory.kw)
    lifecycle.install(factory)
    async with async_sessionmaker(async_engine)() as other:
        other.add(user(name="Eve"))
        await other.commit()
    async with factory() as session:
        assert await records(lifecycle, session) == []
    with pytest.raises(InstallError, match="installed already"):
        lifecycle.install(factory)
    lifecycle.uninstall(factory)
    assert dict(factory.kw) == before


async def test_an_async_hook_under_a_plain_session_is_an_error_that_names_it(
    lifecycle: Lifecycle, user: Any, tmp_path: Path, sqlite_engine: Any
) -> None:
    """Nothing could await it, and nothing is written."""
    user.metadata.create_all(sqlite_engine)
    factory = sessionmaker(sqlite_engine)
    lifecycle.install(factory)
    lifecycle.create_tables(sqlite_engine)

    @lifecycle.subscribe
    @pre_persist(user)
    async def hook(event: Any) -> None: ...

    with factory() as session:
        session.add(user(name="Eve"))
        with pytest.raises(HookDefinitionError, match=r"hook, marked @pre_persist, is async"):
            session.flush()
    lifecycle.uninstall(factory)


async def test_reading_the_log_of_an_async_engine_without_waiting_says_how(
    lifecycle: Lifecycle, async_engine: AsyncEngine
) -> None:
    """An error of Lifecycle, not one from deep inside the driver."""
    lifecycle.install(async_sessionmaker(async_engine))
    with pytest.raises(ConfigurationError, match=r"run_sync|plain engine"):
        list(lifecycle.history.find())


async def test_a_plain_engine_reads_the_log_that_async_sessions_write(
    user: Any, async_engine: AsyncEngine, tmp_path: Path
) -> None:
    """Another driver leads to the same database, so both commit as one."""
    engine = create_engine(f"sqlite:///{tmp_path / 'async.sqlite'}")
    lifecycle, factory = Lifecycle(store=engine), async_sessionmaker(async_engine)
    lifecycle.install(factory)
    async with factory.begin() as session:
        session.add(user(name="Eve"))
    assert [record.changes.new("name") for record in lifecycle.history.find()] == ["Eve"]
    engine.dispose()


async def test_creating_tables_on_an_async_engine_says_how(
    lifecycle: Lifecycle, async_engine: AsyncEngine
) -> None:
    """The error has the line to write."""
    with pytest.raises(ConfigurationError, match=r"run_sync\(lifecycle\.metadata\.create_all\)"):
        lifecycle.create_tables(async_engine)  # type: ignore[arg-type]


async def test_without_greenlet_plain_sessions_work_and_async_hooks_are_refused() -> None:
    """SQLAlchemy 2.1 does not bring greenlet along."""
    code = """
import sys
sys.modules["greenlet"] = None
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from lifecycle import Lifecycle, pre_persist
from lifecycle.errors import HookDefinitionError

class Base(DeclarativeBase): pass

class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)

engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
factory, lifecycle = sessionmaker(engine), Lifecycle()
lifecycle.install(factory)
lifecycle.create_tables(engine)
with factory.begin() as session:
    session.add(User())
assert [record.key for record in lifecycle.history.find()] == ["1"]

@lifecycle.subscribe
@pre_persist
async def hook(event): ...

try:
    with factory.begin() as session:
        session.add(User())
except HookDefinitionError:
    print("refused")
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("refused\n", "")
