"""References: what is assigned and read, in both directions, over every pair of databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from lifecycle import ReferenceMany, ReferenceOne
from lifecycle.behaviours.references import prefetch
from lifecycle.errors import MissingReference, UnsavedReference
from tests.behaviours.conftest import DocumentWorld, SqlWorld
from tests.behaviours.linking import PAIRS, Link, linked, questions


class Models:
    """A link with its two models."""

    def __init__(self, link: Link) -> None:
        self.near, self.far, self.lifecycle = link.near, link.far, link.lifecycle

        class ToTarget:
            target: ReferenceOne[Any] = ReferenceOne("Target", "target_id", inversed_by="sources")

        class HasSources:
            sources: ReferenceMany[Any] = ReferenceMany("Source", mapped_by="target")

        self.Source = link.near.model("Source", mixin=ToTarget, name="text", target_id="text")
        self.Target = link.far.model("Target", mixin=HasSources, name="text")
        link.install()

    def target(self, name: str = "t") -> Any:
        """A target that has been saved."""
        with self.far.transaction():
            made = self.far.add(self.Target(name=name))
            identifier = made.id
        return self.read_target(identifier)

    def read_target(self, identifier: Any) -> Any:
        """A target, read and let go of by its session."""
        (found,) = self.far.find(self.Target, id=identifier)
        return found

    def refer(self, *targets: Any) -> list[Any]:
        """New sources that refer to these; returns their identifiers."""
        made = []
        with self.near.transaction():
            for n, target in enumerate(targets):
                source = self.Source(name=f"s{n}")
                source.target = target
                made.append(self.near.add(source).id)
        return made


@pytest.fixture(params=PAIRS)
def models(request: pytest.FixtureRequest) -> Iterator[Models]:
    """The models over each pair of databases."""
    with linked(request, request.param) as link:
        yield Models(link)


def test_assigning_writes_the_identifier_at_once_and_reading_gives_the_object(
    models: Models,
) -> None:
    """Before any flush, and after it from the database."""
    target = models.target("first")
    source = models.Source(name="s")
    source.target = target
    assert source.target_id == str(target.id)
    assert source.target is target
    with models.near.transaction():
        identifier = models.near.add(source).id
    with models.near.transaction():
        read = models.near.one(models.Source, identifier)
        assert read.target_id == str(target.id)
        assert read.target.name == "first"
        assert read.target is read.target


def test_none_clears_the_identifier(models: Models) -> None:
    """Gedmo keeps it: it looks only at objects."""
    (identifier,) = models.refer(models.target())
    with models.near.edited(models.Source, identifier) as source:
        source.target = None
        assert source.target_id is None
    assert models.near.read(models.Source, identifier, "target_id", "target") == (None, None)


def test_changing_only_the_reference_is_saved_and_recorded(models: Models) -> None:
    """Gedmo loses it (#1152): no mapped field changes there, so no update is scheduled."""
    one, other = models.target("one"), models.target("other")
    (identifier,) = models.refer(one)
    with models.near.edited(models.Source, identifier) as source:
        source.target = other
    assert models.near.read(models.Source, identifier, "target_id") == str(other.id)
    newest = next(models.lifecycle.history.of("Source", identifier))
    assert dict(newest.changes) == {"target_id": newest.changes["target_id"]}
    assert newest.changes["target_id"].old == str(one.id)
    assert newest.changes["target_id"].new == str(other.id)


def test_a_thousand_references_are_one_query(models: Models) -> None:
    """Gedmo asks once for each. They lead to different objects, and each gets its own."""
    with models.far.transaction():
        targets = [models.far.add(models.Target(name=f"t{n}")) for n in range(10)]
        identifiers = [one.id for one in targets]
    targets = [models.read_target(one) for one in identifiers]
    models.refer(*(targets[n % 10] for n in range(30)))
    with models.near.transaction():
        sources = models.near.find(models.Source)
        with questions(models.far, models.Target) as asked:
            found = [source.target.name for source in sources]
    assert len(asked) == 1
    assert found == [f"t{n % 10}" for n in range(30)]


def test_the_other_side_of_many_objects_is_one_query(models: Models) -> None:
    """Each has its own, in the order of their keys."""
    targets = [models.target(f"t{n}") for n in range(3)]
    identifiers = models.refer(*(targets[n % 3] for n in range(9)))
    with models.far.transaction():
        read = models.far.find(models.Target)
        with questions(models.near, models.Source) as asked:
            found = [[one.id for one in target.sources] for target in read]
    assert len(asked) == 1
    assert found == [identifiers[n::3] for n in range(3)]


def test_a_new_identifier_leads_to_a_new_object(models: Models) -> None:
    """What was read for the old one is not given any more."""
    one, other = models.target("one"), models.target("other")
    (identifier,) = models.refer(one)
    with models.near.transaction():
        source = models.near.one(models.Source, identifier)
        assert source.target.name == "one"
        source.target_id = str(other.id)
        assert source.target.name == "other"
        source.target_id = None
        assert source.target is None
        source.target_id = str(one.id)
        assert source.target.name == "one"


def test_what_is_not_there_is_a_clear_error(models: Models) -> None:
    """It names the object, the reference and what is missing; and is looked for again."""
    target = models.target()
    (identifier,) = models.refer(target)
    with models.far.transaction():
        models.far.delete(models.far.one(models.Target, target.id))
    with models.near.transaction():
        source = models.near.one(models.Source, identifier)
        for _ in range(2):
            with pytest.raises(MissingReference) as raised:
                _ = source.target
            assert str(raised.value).startswith(
                f"target of Source {identifier} refers to Target {target.id}, which is not there"
            )


def test_an_object_without_an_identifier_is_written_when_it_has_one(models: Models) -> None:
    """Gedmo wants it to have one at the time it is assigned."""
    with models.near.transaction() as session:
        source = models.Source(name="s")
        target = models.Target(name="later")
        source.target = target
        assert source.target is target
        assert source.target_id is None
        with models.far.transaction():
            models.far.add(target)
            text = str(target.id)
        if session is not None:
            session.add(source)
        identifier = models.near.add(source).id
        assert source.target_id == text
    assert models.near.read(models.Source, identifier, "target_id") == text


def test_an_object_that_is_never_saved_is_refused(models: Models) -> None:
    """In a new object, and in one that has no other change."""
    (identifier,) = models.refer(models.target())
    source = models.Source(name="s")
    source.target = models.Target(name="never")
    message = "target of a Source refers to a Target that was never saved"
    with pytest.raises(UnsavedReference, match=message), models.near.transaction():
        models.near.add(source)
    with pytest.raises(UnsavedReference), models.near.edited(models.Source, identifier) as read:
        read.target = models.Target(name="never")
    assert models.near.read(models.Source, identifier, "target_id") is not None


def test_an_identifier_set_by_hand_counts_over_what_was_assigned_before(models: Models) -> None:
    """Be it to None: what was assigned last counts, and an unsaved one is not waited for."""
    there = str(models.target().id)
    (identifier,) = models.refer(models.target())
    for by_hand in (None, there):
        source = models.Source(name="s")
        source.target = models.Target(name="never")
        source.target_id = by_hand
        assert by_hand or source.target is None
        with models.near.transaction():
            made = models.near.add(source).id
        assert models.near.read(models.Source, made, "target_id") == by_hand
        with models.near.edited(models.Source, identifier) as read:
            read.target = models.Target(name="never")
            assert read.target.name == "never"
            read.target_id = by_hand
        assert models.near.read(models.Source, identifier, "target_id") == by_hand
    source = models.Source(name="s", target_id=None)
    source.target = models.Target(name="never")
    with pytest.raises(UnsavedReference), models.near.transaction():
        models.near.add(source)


def test_a_reference_cannot_be_compared_in_a_query(models: Models) -> None:
    """It would be compared as the Python object it is, and find nothing, without a word."""
    target = models.target()
    mixin = models.Source.target.owner
    for compare in (
        lambda: models.Source.target == target,
        lambda: models.Source.target != None,  # noqa: E711
        lambda: models.Target.sources == [],
    ):
        with pytest.raises(TypeError, match="is no column or field, and cannot be asked for"):
            compare()
    if isinstance(models.near, SqlWorld):
        with pytest.raises(TypeError, match="is no column or field"):
            select(models.Source).filter_by(target=target)
    assert models.Source.target == mixin.target
    assert models.Source.target != models.Target.sources


def test_adding_on_the_other_side_assigns_to_this_one(models: Models) -> None:
    """Gedmo's collections write nothing back."""
    target = models.target()
    (identifier,) = models.refer(None)
    with models.near.transaction():
        source = models.near.one(models.Source, identifier)
        assert len(target.sources) == 0
        target.sources.add(source)
        assert source.target_id == str(target.id)
        assert [one.id for one in target.sources] == [identifier]
        assert source in target.sources
        models.near.save(source)
    target.sources.refresh()
    assert [one.id for one in target.sources] == [identifier]
    with models.near.edited(models.Source, identifier) as source:
        target.sources.remove(source)
        assert len(target.sources) == 0
        with pytest.raises(ValueError, match="is not in"):
            target.sources.remove(source)
    target.sources.refresh()
    assert list(target.sources) == []


def test_assigning_on_this_side_shows_on_the_other(models: Models) -> None:
    """On the objects at hand, once their collections have been read."""
    one, other = models.target("one"), models.target("other")
    (identifier,) = models.refer(one)
    assert [len(one.sources), len(other.sources)] == [1, 0]
    with models.near.edited(models.Source, identifier) as source:
        source.target = one
        source.target = other
        assert [source in one.sources, source in other.sources] == [False, True]


def test_prefetching_takes_one_query_for_objects_from_anywhere(models: Models) -> None:
    """Here each was loaded by itself."""
    identifiers = models.refer(*(models.target(f"t{n}") for n in range(5)))
    with models.near.transaction():
        sources = [models.near.one(models.Source, one) for one in identifiers]
        with questions(models.far, models.Target) as asked:
            prefetch(sources, "target")
            found = [source.target.name for source in sources]
    assert len(asked) == 1
    assert found == [f"t{n}" for n in range(5)]


def test_no_connection_is_kept(models: Models) -> None:
    """Objects read in a session of the reference's own are detached, with their columns."""
    target = models.target("kept")
    (identifier,) = models.refer(target)
    with models.near.transaction():
        found = models.near.one(models.Source, identifier).target
    assert found.name == "kept"
    assert len(target.sources) == 1
    for world in (models.near, models.far):
        if isinstance(world, SqlWorld):
            assert world.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        else:
            assert isinstance(world, DocumentWorld)
