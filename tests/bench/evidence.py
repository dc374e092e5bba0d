"""How fast a log is sealed, verified, compared and replayed.

``python -m tests.bench.evidence [records] [database…]``
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import String, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from lifecycle import Lifecycle, acting
from tests.servers import sql_database
from tests.settling import settle

__all__ = ["main"]


VERSIONS = 1_000


class Base(DeclarativeBase):
    pass


class Sealed(Base):
    __tablename__ = "sealed"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30))
    a: Mapped[int]
    b: Mapped[float]
    c: Mapped[str | None] = mapped_column(String(30))


@contextmanager
def _database(dialect: str) -> Iterator[Any]:
    if dialect == "sqlite":
        with TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'bench.db'}"
    else:
        with sql_database(dialect) as url:
            yield url


def _timed(what: str, count: int, work: Callable[[], Any]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"  {what:8} {count / wall:>9,.0f} a second, {count / cpu:>9,.0f} by its own time, "
        f"peak {peak} MB; found {getattr(result, 'found', 0)}"
    )


def _measure(dialect: str, records: int) -> None:
    with _database(dialect) as url:
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        Session = sessionmaker(engine)
        lifecycle = Lifecycle()
        lifecycle.install(Session)
        lifecycle.create_tables(engine)
        for start in range(0, records, 100):
            with acting("ann"), Session.begin() as session:
                session.add_all(
                    [
                        Sealed(id=n, name=f"name {n}", a=n, b=n / 3, c="some text")
                        for n in range(start + 1, start + 101)
                    ]
                )
        if dialect == "postgresql":
            with engine.begin() as connection:
                connection.execute(text("ANALYZE"))
        settle(lifecycle.store)
        print(f"{dialect}, {records:,} records, 100 to a revision")
        _timed("seal", records, lifecycle.evidence.seal)
        _timed("verify", records, lifecycle.evidence.verify)
        _timed("compare", records, lifecycle.evidence.compare)
        _timed("snapshot", records, lambda: lifecycle.history.snapshot(Sealed))
        for n in range(VERSIONS - 1):
            with Session.begin() as session:
                session.get_one(Sealed, 1).a = n + 2
        when = next(lifecycle.history.of(Sealed, 1)).at
        lifecycle.history.as_of(Sealed, 1, when)
        cpu = time.process_time()
        for _ in range(20):
            lifecycle.history.as_of(Sealed, 1, when)
        took = (time.process_time() - cpu) / 20 * 1000
        print(f"  as of    {took:.1f} ms of its own time for an object of {VERSIONS:,} versions")
        lifecycle.uninstall(Session)
        engine.dispose()


def main() -> None:
    """Measure on each database; memory is that of the whole process, writing included."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    for dialect in sys.argv[2:] or ("sqlite", "postgresql", "mysql"):
        _measure(dialect, records)


if __name__ == "__main__":
    main()
