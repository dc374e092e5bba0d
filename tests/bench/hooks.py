"""What hooks cost: where there are none, and ten of them beside their own time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, Final

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Session, UOWTransaction
from sqlalchemy.orm.attributes import instance_state

from lifecycle import Lifecycle
from lifecycle.changes import ChangeSet, Operation
from lifecycle.dispatch import Dispatcher, Seen, run, settle
from lifecycle.hooks import pre_update
from lifecycle.mappers.sqlalchemy.flush import Flush
from lifecycle.mappers.sqlalchemy.loading import Loading
from lifecycle.mappers.sqlalchemy.model import Model
from lifecycle.mappers.sqlalchemy.models import Models
from lifecycle.mappers.sqlalchemy.reading import LiveObject
from lifecycle.moments import Moment, PreUpdate
from tests.bench.measuring import Figure, per_call, spread
from tests.bench.models import change, declare, items

__all__ = ["figures"]


class Base(DeclarativeBase):
    """The base of the model whose hooks are measured."""


Item: Final = declare(Base)
_MODEL: Final = Model(Item.__mapper__)


def figures(quick: bool, tell: Callable[[str], object]) -> Iterator[Figure]:
    """The lines about hooks; ``tell`` is called before each part."""
    repeats, calls = (5, 500) if quick else (21, 5_000)
    engine = create_engine("sqlite://")  # nothing is timed that asks it
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(items(Item, 1_000))
        session.flush()
        for item in session.query(Item):
            change(item)
        tell("hooks: objects that have none")
        yield from _without(session, calls, repeats)
        tell("hooks: ten for one event")
        yield from _ten(next(iter(session.dirty)), calls // 10, repeats)
    engine.dispose()


def _without(session: Session, calls: int, repeats: int) -> Iterator[Figure]:
    services = Lifecycle(audit="marked")._services
    models = Models(services, Loading(services, lambda session: True, lambda session, state: None))
    plan, concerned, moment = services.dispatcher.plan, models.concerned, Moment.PRE_UPDATE

    def wanted() -> object:
        return concerned(Item) and plan(Item).get(moment)

    settling = Flush(session, UOWTransaction(session), models, services)._settling
    waiting = settling._pending()[Operation.UPDATE]
    asked = per_call(lambda: settling._hooked(waiting, moment), _nothing, calls // 10, repeats)
    yield _figure(
        f"no hooks: whether any of {len(waiting):,} objects has some at a moment, per object",
        [taken / len(waiting) for taken in asked],
        "< 100 ns",
    )
    yield _figure(
        "no hooks: plan of the class, hooks of the moment, asked for one object",
        per_call(lambda: plan(Item).get(moment), _nothing, calls * 10, repeats),
    )
    yield _figure(
        "no hooks, no audit: whether a flush needs to look at the object",
        per_call(wanted, _nothing, calls * 10, repeats),
    )
    dirty = len(session.dirty)
    before = per_call(
        lambda: Flush(session, UOWTransaction(session), models, services).before(),
        _nothing,
        5,
        repeats,
    )
    yield _figure(
        f"no hooks, no audit: all before a flush of {dirty:,} objects, per object",
        [taken / dirty for taken in before],
    )


def _nothing() -> None: ...


def _ten(item: Any, calls: int, repeats: int) -> Iterator[Figure]:
    functions = [_empty() for _ in range(10)]
    dispatcher = Dispatcher()
    for function in functions:
        dispatcher.subscribe(function)
    hooks = dispatcher.plan(Item)[Moment.PRE_UPDATE]
    event = _event(item)

    def own() -> None:
        for function in functions:
            function(event)

    yield _figure(
        "ten hooks: run", per_call(lambda: run(hooks, event), own, calls, repeats), "< 2,000 ns"
    )
    yield _figure(
        "ten hooks: settle, when the object is new to them",
        per_call(lambda: settle(hooks, event, {}), own, calls, repeats),
        "< 2,000 ns",
    )
    seen: Seen = {}
    settle(hooks, event, seen)
    yield _figure(
        "ten hooks: settle, when they have seen it",
        per_call(lambda: settle(hooks, _event(item), seen), lambda: _event(item), calls, repeats),
    )
    yield _figure(
        "ten hooks: making the event that settle tells them of",
        per_call(lambda: _event(item), _nothing, calls, repeats),
    )


def _empty() -> Any:
    @pre_update(Item)
    def empty(event: PreUpdate) -> None:
        pass

    return empty


def _event(item: Any) -> PreUpdate:
    state, operation = instance_state(item), Operation.UPDATE
    live = LiveObject(_MODEL, state, operation, {})
    return PreUpdate(item, ChangeSet(operation=operation, live=live), "Item", "1")


def _figure(what: str, times: list[float], reach: str = "") -> Figure:
    return Figure(
        section="hooks",
        what=what,
        value=median(times),
        unit="ns",
        spread=spread(times),
        reach=reach,
    )
