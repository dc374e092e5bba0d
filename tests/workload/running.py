"""Doing the steps of a program: those given, or those chosen at random on the way."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeVar

from sqlalchemy import Table, select
from sqlalchemy.exc import SADeprecationWarning, SAWarning, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from lifecycle import acting
from tests.workload.choices import RECIPES, Recipe, recipe_of
from tests.workload.database import Database
from tests.workload.judging import ERROR, Complaint, Verdict
from tests.workload.models import restart_ticks
from tests.workload.programs import Ref, Step
from tests.workload.steps import Kind

__all__ = ["DONE", "FAILED", "REFUSED", "SKIPPED", "Here", "Run", "Skip"]

T = TypeVar("T")

DONE: Final = "done"
SKIPPED: Final = "skipped"
"""What the step needs is not there, as when steps before it were taken out of the program."""
REFUSED: Final = "refused"
"""The database or SQLAlchemy refused it; the transaction or the savepoint was rolled back."""
FAILED: Final = "failed"
"""It raised what no application should see."""

_BY_NAME: Final = {recipe.model.__name__: recipe for recipe in RECIPES}


class Skip(Exception):
    """A step has nothing to work on."""


class Here:
    """What a step sees: its session, and what is chosen for it, at random or as it was before."""

    def __init__(self, run: Run, name: str, choose: Chooser) -> None:
        self.run: Final = run
        self.session: Final = run.session(name)
        self._name = name
        self._choose = choose

    def some(self, *models: type[T]) -> T:
        """An object of one of these classes that is there."""
        return self.run.find(self._name, self._choose.ref(self.run, self._name, models))

    def stored(self, *models: type[T]) -> T:
        """The same, but none that has never been written."""
        found = self.some(*models)
        if found in self.session.new:
            raise Skip
        return found

    def a_class(self, *models: type[T]) -> type[T]:
        """One of these classes, of which an object is to be made."""
        by_name = {model.__name__: model for model in models}
        name = self._choose.name(by_name)
        if name not in by_name:
            raise Skip
        return by_name[name]

    def maybe(self, model: type[T]) -> T | None:
        """An object that is there, or none at all."""
        return self.some(model) if self.flip() else None

    def new_of(self, *models: type[T]) -> tuple[type[T], dict[str, Any]]:
        """One of these classes, and the key, or tag, of a row that is not there yet."""
        ref = self._choose.new_ref(self.run, models)
        recipe = _BY_NAME[ref.model]
        handle = ref.handle if len(recipe.handle) > 1 else (ref.handle,)
        model: Any = recipe.model
        return model, dict(zip(recipe.handle, handle, strict=True))

    def new(self, model: type[Any]) -> dict[str, Any]:
        """The key, or tag, of a row of a class that is not there yet, by attribute."""
        return self.new_of(model)[1]

    def values(self, model: type[Any], *, all: bool = False) -> dict[str, Any]:
        """Values for some columns of a class, or for all that there is a choice for."""
        return self._choose.value(lambda random: _values(recipe_of(model), random, all))

    def value(self, model: type[Any], name: str) -> Any:
        """A value for a column."""
        return self._choose.value(recipe_of(model).columns[name])

    def one_of(self, *options: T) -> T:
        """One of these; classes and tables are chosen by name, and tuples by what is first."""
        by_label = {_label(option): option for option in options}
        label = self._choose.value(lambda random: random.choice([*by_label]))
        if label not in by_label:
            raise Skip
        return by_label[label]

    def flip(self) -> bool:
        """Yes or no."""
        return self.one_of(True, False)

    def number(self, end: int) -> int:
        """A number below another."""
        return self._choose.value(lambda random: random.randrange(end))

    def room(self) -> int:
        """Whether this transaction keeps to even or to odd keys."""
        return self._choose.value(lambda random: self.run.rooms.get(self._name, 0))

    def ended(self, *, committed: bool) -> None:
        """The transaction is over."""
        self.run.ended(self._name, committed=committed)

    def reopen(self, **options: Any) -> None:
        """Go on in a new session."""
        self.run.reopen(self._name, **options)

    def let_go(self) -> None:
        """Hold no object that the session itself does not hold."""
        self.run.held[self._name].clear()


def _label(option: Any) -> Any:
    if isinstance(option, tuple):
        return _label(option[0])
    if isinstance(option, type):
        return option.__name__
    return option.name if isinstance(option, Table) else option


def _values(recipe: Recipe, random: Random, all: bool) -> dict[str, Any]:
    names = list(recipe.columns)
    if names and not all:
        names = random.sample(names, random.randint(1, min(3, len(names))))
    return {name: recipe.columns[name](random) for name in names}


# --- choosing -------------------------------------------------------------------------------


class Chooser:
    """Gives a step its choices; here those it was given when the program was made."""

    def __init__(self, choices: tuple[Any, ...]) -> None:
        self._left = iter(choices)

    def value(self, choose: Callable[[Random], T]) -> T:
        """The next choice."""
        try:
            found: T = next(self._left)
        except StopIteration:
            raise Skip from None
        return found

    def name(self, classes: Collection[str]) -> str:
        """The name of one of these classes."""
        found: str = self.value(lambda random: "")
        return found

    def ref(self, run: Run, session: str, models: Sequence[type]) -> Ref:
        """A row of one of these classes."""
        found = self.value(lambda random: None)
        if not isinstance(found, Ref) or found.model not in {model.__name__ for model in models}:
            raise Skip
        return found

    def new_ref(self, run: Run, models: Sequence[type]) -> Ref:
        """A row of one of these classes that is not there yet."""
        return self.ref(run, "", models)


class RandomChooser(Chooser):
    """Chooses at random, and keeps what it chose.

    Objects are made of some classes only: a program with a few of many classes is one in which
    things meet.
    """

    def __init__(self, random: Random, cast: Collection[str], room: int) -> None:
        self._random = random
        self._cast = cast
        self._room = room
        self.chosen: list[Any] = []

    def value(self, choose: Callable[[Random], T]) -> T:
        return self._keep(choose(self._random))

    def _keep(self, choice: T) -> T:
        self.chosen.append(choice)
        return choice

    def name(self, classes: Collection[str]) -> str:
        wanted = [name for name in classes if name in self._cast]
        if not wanted:
            raise Skip
        return self._keep(self._random.choice(wanted))

    def ref(self, run: Run, session: str, models: Sequence[type]) -> Ref:
        wanted = [model for model in models if model.__name__ in self._cast]
        self._random.shuffle(wanted)
        for model in wanted:
            if refs := sorted(run.known(session, model, self._room), key=repr):
                return self._keep(self._random.choice(refs))
        raise Skip

    def new_ref(self, run: Run, models: Sequence[type]) -> Ref:
        wanted = [model for model in models if model.__name__ in self._cast]
        if not wanted:
            raise Skip
        model = self._random.choice(wanted)
        key = recipe_of(model).key
        assert key is not None
        run.numbers += 1
        used_before = run.reuse and self._random.random() < 0.1
        number = self._random.randrange(run.numbers) if used_before else run.numbers
        return self._keep(Ref(model.__name__, key(2 * number + self._room)))


def room_of(handle: Any) -> int:
    """Whether a handle is even or odd. Transactions that run at once keep to one of the two."""
    first = handle[0] if isinstance(handle, tuple) else handle
    return "ab".index(first[0]) if isinstance(first, str) else int(first) % 2


# --- running --------------------------------------------------------------------------------


@dataclass
class Run:
    """One program on one database: its sessions, and what has become of its steps."""

    database: Database
    kinds: Mapping[str, Kind]
    every: int = 1
    """The judge is asked after so many transactions."""
    tolerated: Callable[[Complaint], bool] = lambda complaint: False
    """Complaints that do not end the program."""
    reuse: bool = True
    """Whether new rows may get keys that others had."""

    steps: list[Step] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    transactions: int = 0
    commits: int = 0
    verdict: Verdict = field(default_factory=Verdict)
    complaints: list[Complaint] = field(default_factory=list)
    failures: list[Complaint] = field(default_factory=list)

    rooms: dict[str, int] = field(default_factory=dict)
    numbers: int = 0
    held: dict[str, list[Any]] = field(default_factory=dict)
    _sessions: dict[str, Session] = field(default_factory=dict)
    committed: set[str] = field(default_factory=set)
    _numbers_of_transactions: Counter[str] = field(default_factory=Counter)
    _known: dict[type, list[Any]] = field(default_factory=dict)

    # --- sessions ---

    def session(self, name: str) -> Session:
        """The session of that name."""
        if name not in self._sessions:
            self.reopen(name)
        return self._sessions[name]

    def reopen(self, name: str, **options: Any) -> None:
        """Close the session of that name and open a new one."""
        if name in self._sessions:
            self._sessions[name].close()
            self.ended(name, committed=False)
        self._sessions[name] = self.database.sessions(**options)
        self.held[name] = []

    def _actor(self, name: str) -> str:
        return f"{name}{self._numbers_of_transactions[name]}"

    def ended(self, name: str, *, committed: bool) -> None:
        """A transaction is over."""
        if committed:
            self.committed.add(self._actor(name))
            self._known.clear()
            self.commits += 1
        self._numbers_of_transactions[name] += 1
        self.rooms.pop(name, None)
        self.transactions += 1
        if self.transactions % self.every == 0:
            self.ask_the_judge()

    def ask_the_judge(self) -> None:
        """Compare the log with the tables."""
        self.verdict = self.database.judge(self.committed)
        self.complaints += (one for one in self.verdict.complaints if not self.tolerated(one))

    # --- rows ---

    def find(self, name: str, ref: Ref) -> Any:
        """The object, from the session or the database."""
        session, recipe = self.session(name), _BY_NAME[ref.model]
        model: Any = recipe.model
        for pending in session.new:
            if isinstance(pending, model) and _handle(recipe, vars(pending)) == ref.handle:
                return pending
        with session.no_autoflush:
            if recipe.has_tag:
                found = session.scalar(select(model).where(model.tag == ref.handle))
            else:
                found = session.get(model, ref.handle)
        if found is None or found in session.deleted:
            raise Skip
        self.held[name].append(found)
        return found

    def known(self, name: str, model: type, room: int) -> Iterator[Ref]:
        """The rows that are committed, and those only the session knows. Asks no session."""
        recipe, session = recipe_of(model), self.session(name)
        if model not in self._known:
            columns = [getattr(model, column) for column in recipe.handle]
            rows = self.database.connection.execute(select(*columns))
            self._known[model] = [tuple(row) if len(row) > 1 else row[0] for row in rows]
        handles = {*self._known[model]}
        for one in (*session.new, *session.identity_map.values()):
            if isinstance(one, model):
                handles.add(_handle(recipe, instance_state(one).dict))
        for handle in handles:
            if handle is not None and room_of(handle) == room:
                yield Ref(model.__name__, handle)

    # --- steps ---

    def do(self, step: Step) -> str:
        """Do a step as it was chosen before."""
        return self._do(step.session, step.name, Chooser(step.choices), lambda: step)

    def do_some(self, name: str, kind: str, random: Random, cast: Collection[str]) -> str:
        """Do a step of a kind, with choices of its own."""
        chooser = RandomChooser(random, cast, self.rooms[name])
        return self._do(name, kind, chooser, lambda: Step(name, kind, tuple(chooser.chosen)))

    def _do(self, name: str, kind: str, chooser: Chooser, step: Callable[[], Step]) -> str:
        outcome, done = self._outcome(name, kind, chooser), step()
        if outcome != SKIPPED or any(isinstance(choice, Ref) for choice in done.choices):
            self.steps.append(done)  # else it has not even looked at anything
        self.outcomes[outcome] += 1
        self.by_kind[kind, outcome] += 1
        return outcome

    def _outcome(self, name: str, kind: str, chooser: Chooser) -> str:
        try:
            with acting(self._actor(name)):
                self.kinds[kind].do(Here(self, name, chooser))
        except Skip:
            return SKIPPED
        except SQLAlchemyError as error:
            statement = str(getattr(error, "statement", ""))
            if "lifecycle_revision" in statement or "lifecycle_change" in statement:
                return self._failed(name, error)
            self.errors[f"{kind}: {type(error).__name__}"] += 1
            self._recover(name)
            return REFUSED
        except Exception as error:
            return self._failed(name, error)
        return DONE

    def _failed(self, name: str, error: Exception) -> str:
        where = traceback.extract_tb(error.__traceback__)[-1]
        complaint = Complaint(ERROR, type(error).__name__, "", where.name, _told(error))
        self.failures.append(complaint)
        if not self.tolerated(complaint):
            self.complaints.append(complaint)
        self._recover(name)
        return FAILED

    def _recover(self, name: str) -> None:
        session = self._sessions[name]
        savepoint = session.get_nested_transaction()
        if savepoint is not None:
            try:
                savepoint.rollback()
            except SQLAlchemyError:
                pass  # the database has rolled back the whole transaction already
            else:
                return
        session.rollback()
        self.ended(name, committed=False)

    def end(self) -> None:
        """Leave every transaction without a commit, and ask the judge a last time."""
        self.close()
        if not self.complaints:
            self.ask_the_judge()

    def close(self) -> None:
        """Close every session."""
        for session in self._sessions.values():
            session.close()


def _told(error: Exception) -> str:
    """The error, and the lines of code it went through last."""
    return "".join(traceback.format_exception(error, limit=-10)).strip()


def _handle(recipe: Recipe, values: dict[str, Any]) -> Any:
    found = tuple(values.get(name) for name in recipe.handle)
    if None in found:
        return None
    return found if len(found) > 1 else found[0]


@contextmanager
def quietly(database: Database) -> Iterator[None]:
    """Without SQLAlchemy's advice, for programs do what they should not; other warnings raise."""
    database.empty()
    restart_ticks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for category in (SAWarning, SADeprecationWarning):
            warnings.simplefilter("ignore", category)
        yield
