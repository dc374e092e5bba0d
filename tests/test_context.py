"""Who acts, and why."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from lifecycle.context import Context, acting, current
from lifecycle.errors import EncodingError

NOBODY = Context()


@dataclass
class Account:
    """An actor whose class defines no text of its own."""

    id: Any
    password: str = "secret"


class Person(Account):
    """An actor with a name."""

    def __str__(self) -> str:
        return f"Person {self.id}"


def test_without_a_block_nobody_acts() -> None:
    """Every part of the context is missing, and none of it can be changed in place."""
    assert current() == NOBODY
    with pytest.raises(TypeError):
        current().extra["a"] = 1  # type: ignore[index]


def test_a_block_names_who_acts_and_why() -> None:
    """What is given is the context inside the block, and is gone after it."""
    with acting(
        "ann", label="Ann", reason="marriage", source="web", request_id="r1", ticket=7
    ) as inner:
        assert current() is inner
        assert inner == Context(
            actor="ann",
            actor_label="Ann",
            reason="marriage",
            source="web",
            request_id="r1",
            group=inner.group,
            extra={"ticket": 7},
        )
    assert current() == NOBODY


def test_an_outermost_block_has_a_group_of_its_own() -> None:
    """Which its inner blocks share, and the next block does not."""
    with acting("ann") as outer, acting(reason="b") as inner:
        assert inner.group == outer.group is not None
    with acting("ann") as other:
        assert other.group not in (None, outer.group)


def test_what_an_inner_block_does_not_give_is_taken_from_the_outer_one() -> None:
    """Extra keywords add up, and the outer context is whole again afterwards."""
    with acting("ann", label="Ann", reason="a", source="web", one=1, two=2) as outer:
        with acting(reason="b", two=3):
            assert (current().actor, current().actor_label) == ("ann", "Ann")
            assert (current().reason, current().source) == ("b", "web")
            assert current().extra == {"one": 1, "two": 3}
        assert current() is outer


@pytest.mark.parametrize(
    ("actor", "label", "expected"),
    [
        ("bob", None, ("bob", None)),
        ("bob", "Bob", ("bob", "Bob")),
        ("ann", None, ("ann", "Ann")),
        ("ann", "Ann Smith", ("ann", "Ann Smith")),
        (None, None, ("ann", "Ann")),
        (None, "Annie", ("ann", "Annie")),
    ],
)
def test_a_label_is_inherited_only_with_its_actor(
    actor: str | None, label: str | None, expected: tuple[str, str | None]
) -> None:
    """Another actor never gets the name of the outer one."""
    with acting("ann", label="Ann"), acting(actor, label=label) as inner:
        assert (inner.actor, inner.actor_label) == expected


def test_the_outer_context_comes_back_after_an_error() -> None:
    """A block that raises is left like any other."""
    with pytest.raises(KeyError), acting("ann"):
        raise KeyError
    assert current() == NOBODY


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        ("ann", ("ann", None)),
        (7, ("7", None)),
        (0, ("0", None)),
        (UUID(int=1), ("00000000-0000-0000-0000-000000000001", None)),
        (Person(7), ("7", "Person 7")),
        (Person(UUID(int=1)), (str(UUID(int=1)), f"Person {UUID(int=1)}")),
    ],
)
def test_an_actor_is_text_a_number_or_an_object_with_an_id(
    actor: Any, expected: tuple[str, str | None]
) -> None:
    """The id becomes text; an object's own text becomes the label."""
    with acting(actor) as inner:
        assert (inner.actor, inner.actor_label) == expected


def test_an_object_without_a_text_of_its_own_gives_no_label() -> None:
    """The default text is an address, or the values of every field: neither is a name."""
    with acting(Account(7)) as inner:
        assert (inner.actor, inner.actor_label) == ("7", None)


def test_a_label_that_is_given_is_preferred_to_the_actors_text() -> None:
    """What the caller says counts."""
    with acting(Person(7), label="Ann") as inner:
        assert inner.actor_label == "Ann"


def test_an_object_may_call_its_id_pk() -> None:
    """``pk`` counts where there is no ``id``, or none is set yet."""

    class Document:
        id = None
        pk = "d1"

    with acting(Document()) as inner:
        assert inner.actor == "d1"


@pytest.mark.parametrize(
    ("actor", "named"),
    [
        (Person(None), "a Person that has no id"),
        (object(), "a object that has no id"),
        (True, "a bool that has no id"),
        (Person, "the class Person that has no id"),
    ],
)
def test_an_actor_without_an_id_is_refused(actor: Any, named: str) -> None:
    """The error names the type and says what to give."""
    with pytest.raises(TypeError, match=f"acting.. got {named}: give a stable id"):
        acting(actor)


def test_a_method_is_no_id() -> None:
    """An object whose ``id`` has to be called is refused, not recorded by its address."""

    class Odd:
        def id(self) -> int:
            return 1

    with pytest.raises(TypeError, match=r"Odd that has no id"):
        acting(Odd())


def test_an_empty_actor_is_refused() -> None:
    """A missing header must not become an actor without a name."""
    with pytest.raises(ValueError, match="an empty actor: give a stable id, or None"):
        acting("")


@pytest.mark.parametrize("keyword", ["label", "reason", "source", "request_id"])
def test_what_is_not_text_is_refused_where_text_is_wanted(keyword: str) -> None:
    """The error comes from acting(), not from the database at the end of a flush."""
    with pytest.raises(TypeError, match=f"acting.{keyword}=5. must be text, not int"):
        acting("ann", **{keyword: 5})  # type: ignore[arg-type]


@pytest.mark.parametrize("keyword", ["actor", "request_id"])
def test_an_id_longer_than_the_log_keeps_is_refused(keyword: str) -> None:
    """255 characters fit, one more does not; a reason may be of any length."""
    with acting(**{keyword: "x" * 255}, reason="x" * 5000):
        pass
    with pytest.raises(ValueError, match=f"acting.{keyword}=....* has 256 characters"):
        acting(**{keyword: "x" * 256})


def test_extra_keywords_hold_any_value_the_log_can_encode() -> None:
    """Values keep their types."""
    extra = {"price": Decimal("1.10"), "ids": [1, (2, 3)], "nothing": None, "half": "\ud800"}
    with acting("ann", **extra) as inner:
        assert inner.extra == extra


def test_a_value_the_log_cannot_encode_is_refused_by_its_keyword() -> None:
    """The error comes before anything is written."""
    with pytest.raises(EncodingError, match=r"acting\(connection=\.\.\.\) cannot be recorded"):
        acting("ann", connection=object())


def test_a_value_changed_after_it_was_given_is_recorded_as_it_was() -> None:
    """The context holds a copy."""
    tags = ["a"]
    with acting("ann", tags=tags) as inner:
        tags.append("b")
        assert inner.extra == {"tags": ["a"]}


@pytest.mark.parametrize("keyword", ["actor_label", "group", "extra"])
def test_a_keyword_that_looks_like_a_part_of_the_context_is_refused(keyword: str) -> None:
    """It would be kept beside the part it was meant for."""
    with pytest.raises(TypeError, match=f"acting.. has no keyword '{keyword}'"):
        acting("ann", **{keyword: "x"})


def test_one_block_is_opened_once() -> None:
    """Opening it again while it is open is refused; afterwards it may serve again."""
    block = acting("ann")
    with block, pytest.raises(RuntimeError, match="open already"), block:
        pass
    with block:
        assert current().actor == "ann"
    assert current() == NOBODY


# --- as a decorator ---


def test_a_decorated_function_acts_during_every_call() -> None:
    """Calls may overlap, keep the function's name, and see the context they are called in."""

    @acting(Person(1), source="job", step=1)
    def job(depth: int) -> list[Context]:
        """What it does."""
        return [current(), *(job(depth - 1) if depth else [])]

    with acting("ann", reason="nightly"):
        inner, again = job(1)
        assert current().actor == "ann"
    assert inner == again
    assert (inner.actor, inner.actor_label) == ("1", "Person 1")
    assert (inner.reason, inner.source, inner.extra) == ("nightly", "job", {"step": 1})
    assert (job.__name__, job.__doc__) == ("job", "What it does.")


def test_a_decorated_async_function_acts_while_it_runs() -> None:
    """The block lasts until the coroutine is over, not until it has been made."""

    @acting("job")
    async def job() -> str | None:
        await asyncio.sleep(0)
        return current().actor

    async def main() -> list[str | None]:
        return [*await asyncio.gather(job(), job()), current().actor]

    assert asyncio.run(main()) == ["job", "job", None]


def test_a_generator_cannot_be_decorated() -> None:
    """It would run after the block: the error says what to do instead."""

    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, later):
        with pytest.raises(TypeError, match=f"the generator .*{function.__name__}, which runs"):
            acting("job")(function)


# --- tasks, threads, generators ---


def test_tasks_do_not_see_each_others_context() -> None:
    """Each task has what was in force when it was made, and changes only its own."""

    async def act(name: str, order: list[str | None]) -> None:
        order.append(current().actor)
        with acting(name):
            for _ in range(5):
                await asyncio.sleep(0)
                order.append(current().actor)

    async def main() -> dict[str, list[str | None]]:
        seen: dict[str, list[str | None]] = {"ann": [], "bob": []}
        with acting("main"):
            await asyncio.gather(*(act(name, order) for name, order in seen.items()))
            assert current().actor == "main"
        return seen

    assert asyncio.run(main()) == {"ann": ["main", *["ann"] * 5], "bob": ["main", *["bob"] * 5]}


def test_a_task_keeps_its_context_after_the_block_that_made_it() -> None:
    """Work handed to the background is still done by who asked for it."""

    async def background() -> str | None:
        await asyncio.sleep(0)
        return current().actor

    async def main() -> str | None:
        with acting("ann"):
            task = asyncio.create_task(background())
        return await task

    assert asyncio.run(main()) == "ann"


def test_threads_do_not_see_each_others_context() -> None:
    """A new thread starts with nobody, unless it is given a copy of the context."""
    together = threading.Barrier(2, timeout=10)

    def act(name: str) -> list[str | None]:
        before = current().actor
        with acting(name):
            together.wait()
            return [before, current().actor]

    with acting("main"), ThreadPoolExecutor(2) as pool:
        assert list(pool.map(act, ["ann", "bob"])) == [[None, "ann"], [None, "bob"]]
        assert pool.submit(copy_context().run, lambda: current().actor).result() == "main"
        assert current().actor == "main"


def test_a_block_in_a_generator_holds_for_its_consumer_until_it_is_closed() -> None:
    """A generator has no context of its own."""

    def numbers() -> Iterator[int]:
        with acting("generator"):
            yield 1

    running = numbers()
    next(running)
    assert current().actor == "generator"
    running.close()  # type: ignore[attr-defined]
    assert current() == NOBODY
