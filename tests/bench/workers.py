"""Where a contestant runs: a process of its own, which is told over a pipe what to do."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from time import perf_counter_ns, process_time_ns
from traceback import format_exc
from typing import Any, Final

from sqlalchemy import URL, create_engine, inspect, text
from sqlalchemy.orm import sessionmaker

from tests.bench.contestants import Contestant
from tests.bench.loads import Load, Step, Steps, World
from tests.statements import statements

__all__ = ["Counted", "Failed", "Taken", "Worker", "worker"]

SECONDS_TO_END: Final = 5


class Failed(Exception):
    """A contestant does not do what it is measured at."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a commit of a step took, in milliseconds: on the clock, and of its process's CPU."""

    clock: float
    cpu: float

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.clock + other.clock, self.cpu + other.cpu)


@dataclass(frozen=True, slots=True)
class Counted:
    """What a step sent to the database, and how many rows the log has of it."""

    step: Step
    statements: int
    records: int


class Ground:
    """A database with the contestant's tables, on which loads run."""

    def __init__(self, contestant: Contestant, url: URL | str) -> None:
        self._engine: Final = create_engine(url)
        sessions = sessionmaker(self._engine, expire_on_commit=False)
        model = contestant.set_up(self._engine, sessions)
        self._world: Final = World(self._engine, sessions, model)
        self._log: Final = contestant.log

    def time(self, load: Load) -> dict[str, Taken]:
        """Run a load, with nothing beside it that would take time."""
        found = {}
        steps = self.steps(load)
        clock, cpu = perf_counter_ns(), process_time_ns()
        for step in steps:
            clock, cpu = perf_counter_ns() - clock, process_time_ns() - cpu
            if step:
                found[step.name] = Taken(clock / 1e6 / step.commits, cpu / 1e6 / step.commits)
            gc.collect()
            clock, cpu = perf_counter_ns(), process_time_ns()
        return found

    def steps(self, load: Load) -> Steps:
        """Run a load in empty tables."""
        self._empty()
        gc.collect()
        return load.run(self._world, load.size)

    def count(self, load: Load) -> list[Counted]:
        """Run a load to see its statements and records."""
        found = []
        self._empty()
        with statements(self._engine) as executed:
            for step in load.run(self._world, load.size):
                if step:
                    sent = len(executed)
                    found.append(
                        Counted(step, sent, self._records() - sum(c.records for c in found))
                    )
                executed.clear()
        return found

    def _records(self) -> int:
        if self._log is None:
            return 0
        with self._engine.connect() as connection:
            return connection.scalar(text(f"SELECT count(*) FROM {self._log}")) or 0

    def _empty(self) -> None:
        quote = self._engine.dialect.identifier_preparer.quote
        names = [quote(name) for name in inspect(self._engine).get_table_names()]
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(text(f"TRUNCATE {', '.join(names)}"))
            else:
                for name in names:
                    connection.execute(text(f"DELETE FROM {name}"))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def _serve(pipe: Pipe, contestant: Contestant, url: URL | str) -> None:
    """Do what comes over the pipe and answer with what it gave, or with the text of its error."""
    try:
        ground = Ground(contestant, url)
        pipe.send((None, None))
        while order := pipe.recv():
            name, load = order
            pipe.send((getattr(ground, name)(load), None))
        ground.close()
    except EOFError:
        pass
    except BaseException:
        pipe.send((None, format_exc()))


class Worker:
    """A contestant at work in its process."""

    def __init__(self, contestant: Contestant, pipe: Pipe) -> None:
        self.contestant: Final = contestant
        self._pipe: Final = pipe
        self._answer()

    def time(self, load: Load) -> dict[str, Taken]:
        """What each step of a load took."""
        found: dict[str, Taken] = self._ask("time", load)
        return found

    def count(self, load: Load) -> list[Counted]:
        """What each step of a load sent; raises `Failed` when not all of it was recorded."""
        found: list[Counted] = self._ask("count", load)
        for one in found:
            self._check(load, one)
        return found

    def _check(self, load: Load, counted: Counted) -> None:
        step, contestant = counted.step, self.contestant
        recorded = contestant.log and (contestant.records_statements or not step.statement)
        expected = step.records if recorded else 0
        if counted.records != expected:
            raise Failed(
                f"{contestant.name} left {counted.records:,} records of {load.name}: {step.name}, "
                f"not {expected:,}: its times would say nothing"
            )

    def _ask(self, name: str, load: Load) -> Any:
        self._pipe.send((name, load))
        return self._answer()

    def _answer(self) -> Any:
        try:
            found, error = self._pipe.recv()
        except EOFError:
            error = "its process ended"
        if error:
            raise Failed(f"{self.contestant.name} failed: {error}")
        return found


@contextmanager
def worker(contestant: Contestant, url: URL | str) -> Iterator[Worker]:
    """A contestant in a process that ends with the block, whatever it is doing then."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, contestant, url), daemon=True)
    # Ctrl-C is for the process that waits for this one, which inherits what is blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    process.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    there.close()
    try:
        with here:
            yield Worker(contestant, here)
            here.send(None)
            process.join(SECONDS_TO_END)
    finally:
        process.terminate()
        process.join()
        process.close()
