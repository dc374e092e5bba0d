"""Slugs: stable, unique, and made of other fields, on both mappers."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.behaviours import slug, slugged
from lifecycle.errors import ConfigurationError
from tests.behaviours.conftest import World


def post(world: World, **options: Any) -> Any:
    decorator = slug("slug", of=("title", "place"), **options)
    model = world.model("SluggedPost", decorator, title="text", place="text", slug="text")
    world.install()
    return model


def test_it_is_made_once_and_stays(mapper: World) -> None:
    """Addresses are to last: a new title does not change it."""
    model = post(mapper)
    one = mapper.new(model, title="Crème brûlée!", place="Köln")
    assert mapper.read(model, one, "slug") == "creme-brulee-koln"
    mapper.edit(model, one, title="Other")
    assert mapper.read(model, one, "slug") == "creme-brulee-koln"


def test_one_that_is_taken_gets_a_number(world: World) -> None:
    """By objects in the database, and by those that are written together."""
    model = post(world)
    first = world.new(model, title="A b")
    with world.transaction() as session:
        more = [model(title="a B"), model(title="a-b")]
        if session is None:
            for one in more:
                one.save()
        else:
            session.add_all(more)
    found = [one.slug for one in world.find(model)]
    assert sorted(found) == ["a-b", "a-b-2", "a-b-3"]
    assert world.read(model, first, "slug") == "a-b"


def test_it_follows_when_asked(mapper: World) -> None:
    """Then a change of its fields makes it anew, and its own slug is not in its way."""
    model = post(mapper, follow=True)
    one = mapper.new(model, title="a")
    mapper.edit(model, one, title="b")
    assert mapper.read(model, one, "slug") == "b"
    mapper.edit(model, one, title="B")
    assert mapper.read(model, one, "slug") == "b"


def test_one_by_hand_stays_and_an_empty_one_is_made(mapper: World) -> None:
    """None or empty asks for a new one; nothing to make it of still gives one."""
    model = post(mapper)
    one = mapper.new(model, title="a", slug="mine")
    assert mapper.read(model, one, "slug") == "mine"
    mapper.edit(model, one, slug=None)
    assert mapper.read(model, one, "slug") == "a"
    assert mapper.read(model, mapper.new(model), "slug") == "n"


def test_after_many_it_is_something_random(sqlite: World) -> None:
    """A query for each number would grow with the objects; the length holds."""
    model = post(sqlite, longest=16)
    found = [sqlite.read(model, sqlite.new(model, title="x" * 30), "slug") for _ in range(22)]
    assert len(set(found)) == 22
    assert max(map(len, found)) == 16
    assert found[:2] == ["x" * 16, "x" * 13 + "-2"]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("  Hello,  World!  ", "hello-world"),
        ("Straße_12/b", "strasse-12-b"),
        ("Пример", "пример"),
        ("...", ""),
        ("한국어", "한국어"),
    ],
)
def test_texts_become_parts_of_addresses(text: str, made: str) -> None:
    """Marks and punctuation go, letters of other scripts stay."""
    assert slugged(text) == made


def test_what_cannot_work_is_an_error() -> None:
    """Before anything is installed."""
    with pytest.raises(ConfigurationError, match="at least one to make it of"):
        slug("slug", of=())
    with pytest.raises(ConfigurationError, match="at least one to make it of"):
        slug("slug", of=3)  # type: ignore[arg-type]
