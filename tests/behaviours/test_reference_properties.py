"""For any sequence of operations references agree with identifiers, and nothing goes unreported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from lifecycle import ReferenceMany, ReferenceOne
from lifecycle.errors import MissingReference, StillReferenced, UnsavedReference
from tests.behaviours.conftest import SqlWorld
from tests.behaviours.linking import Link, linked
from tests.replaying import replayed

NUMBERS = st.integers(0, 3)
OPERATIONS = st.one_of(
    st.tuples(st.just("new_target")),
    st.tuples(st.just("new_source"), NUMBERS),
    st.tuples(st.sampled_from(["assign", "write", "add", "roll_back"]), NUMBERS, NUMBERS),
    st.tuples(
        st.sampled_from(
            ["clear", "remove", "assign_unsaved", "never_saved", "delete_source", "dangle"]
        ),
        NUMBERS,
    ),
    st.tuples(st.sampled_from(["delete_target", "delete_past_hooks"]), NUMBERS),
    st.tuples(st.just("repair"), st.sampled_from(["nullify", "delete", "declared"])),
)


class Machine:
    """Rows that refer to documents, or documents to rows, and what is to be the case."""

    def __init__(self, link: Link, on_delete: Any) -> None:
        class ToTarget:
            target: ReferenceOne[Any] = ReferenceOne(
                "Target", "target_id", inversed_by="sources", on_delete=on_delete
            )

        class HasSources:
            sources: ReferenceMany[Any] = ReferenceMany("Source", mapped_by="target")

        self.link, self.near, self.far = link, link.near, link.far
        self.on_delete = on_delete
        self.Source = link.near.model("Source", mixin=ToTarget, target_id="text")
        self.Target = link.far.model("Target", mixin=HasSources, name="text")
        link.install()
        self.held: dict[Any, str | None] = {}
        self.targets: list[Any] = []

    def begin(self) -> None:
        """Start anew, past the hooks but not past the log."""
        for world, model in ((self.near, self.Source), (self.far, self.Target)):
            if isinstance(world, SqlWorld):
                with world.transaction() as session:
                    session.execute(delete(model))
            else:
                model.objects.delete()
        self.held, self.targets = {}, []
        for n in (0, 1):
            self.new_target()
            self.new_source(n)

    # --- helpers ---

    def pick(self, found: list[Any], n: int) -> Any:
        """The one of that number, if there are any."""
        return found[n % len(found)] if found else None

    def target(self, n: int) -> Any:
        """A target as it is in its database."""
        identifier = self.pick(self.targets, n)
        return None if identifier is None else self.far.find(self.Target, id=identifier)[0]

    # --- operations ---

    def new_target(self) -> None:
        self.targets.append(self.far.new(self.Target, name="t"))

    def new_source(self, n: int) -> None:
        target = self.target(n)
        with self.near.transaction():
            source = self.Source()
            source.target = target
            made = self.near.add(source).id
        self.held[made] = None if target is None else str(target.id)

    def assign(self, n: int, m: int) -> None:
        if (source := self.pick(list(self.held), n)) is not None:
            target = self.target(m)
            self.near.edit(self.Source, source, target=target)
            self.held[source] = None if target is None else str(target.id)

    def write(self, n: int, m: int) -> None:
        source, target = self.pick(list(self.held), n), self.pick(self.targets, m)
        if source is not None and target is not None:
            with self.near.edited(self.Source, source) as found:
                self.compare([found])
                found.target_id = self.held[source] = str(target)
                self.compare([found])

    def add(self, n: int, m: int) -> None:
        source, target = self.pick(list(self.held), n), self.target(m)
        if source is not None and target is not None:
            with self.near.edited(self.Source, source) as found:
                len(target.sources)
                target.sources.add(found)
                self.held[source] = str(target.id)
                assert found in target.sources
                assert found.target is target

    def remove(self, n: int) -> None:
        target = self.target(n)
        if target is not None and len(target.sources):
            identifier = next(iter(target.sources)).id
            with self.near.edited(self.Source, identifier) as found:
                target.sources.remove(found)
                assert found not in target.sources
            self.held[identifier] = None

    def clear(self, n: int) -> None:
        if (source := self.pick(list(self.held), n)) is not None:
            self.near.edit(self.Source, source, target=None)
            self.held[source] = None

    def assign_unsaved(self, n: int) -> None:
        if (source := self.pick(list(self.held), n)) is not None:
            made = self.Target(name="late")
            with self.near.edited(self.Source, source) as found:
                found.target = made
                assert found.target is made
                with self.far.transaction():
                    self.far.add(made)
                    identifier = made.id
            self.targets.append(identifier)
            self.held[source] = str(identifier)

    def never_saved(self, n: int) -> None:
        if (source := self.pick(list(self.held), n)) is not None:
            with pytest.raises(UnsavedReference):
                self.near.edit(self.Source, source, target=self.Target(name="never"))

    def roll_back(self, n: int, m: int) -> None:
        source, target = self.pick(list(self.held), n), self.target(m)
        if source is None or not isinstance(self.near, SqlWorld):
            return
        with self.near.factory() as session:
            found = session.get(self.Source, source)
            found.target = target
            session.flush()
            session.rollback()
            self.compare([found])

    def dangle(self, n: int) -> None:
        gone = "1" * 24 if "Mongo" in str(type(self.Target)) else "999999"
        if (source := self.pick(list(self.held), n)) is not None:
            self.near.edit(self.Source, source, target_id=gone)
            self.held[source] = gone

    def delete_source(self, n: int) -> None:
        if (source := self.pick(list(self.held), n)) is not None:
            with self.near.transaction():
                self.near.delete(self.near.one(self.Source, source))
            del self.held[source]

    def delete_target(self, n: int) -> None:
        target = self.pick(self.targets, n)
        if target is None:
            return
        those = [one for one, held in self.held.items() if held == str(target)]
        if self.on_delete == "restrict" and those:
            with pytest.raises(StillReferenced):
                self._delete(target)
            return
        self._delete(target)
        self.targets.remove(target)
        for one in those:
            if self.on_delete == "cascade":
                del self.held[one]
            elif self.on_delete == "nullify":
                self.held[one] = None

    def _delete(self, identifier: Any) -> None:
        with self.far.transaction():
            self.far.delete(self.far.one(self.Target, identifier))

    def delete_past_hooks(self, n: int) -> None:
        target = self.pick(self.targets, n)
        if target is None:
            return
        self.targets.remove(target)
        if isinstance(self.far, SqlWorld):
            with self.far.transaction() as session:
                session.execute(delete(self.Target).where(self.Target.id == target))
        else:
            self.Target.objects(id=target).delete()

    def repair(self, how: Any) -> None:
        dangling = self.dangling()
        found = list(self.link.lifecycle.references.check(self.Source, repair=how))
        assert {one.key for one in found} == {str(one) for one in dangling}
        deletes = how == "delete" or (how == "declared" and self.on_delete == "cascade")
        nulls = how == "nullify" or (how == "declared" and self.on_delete == "nullify")
        for one in dangling:
            if deletes:
                del self.held[one]
            elif nulls:
                self.held[one] = None

    # --- what is always the case ---

    def dangling(self) -> set[Any]:
        """The sources that refer to what is not there."""
        there = {None, *map(str, self.targets)}
        return {one for one, held in self.held.items() if held not in there}

    def compare(self, sources: list[Any]) -> None:
        """Each reads as what its identifier says."""
        there = {str(one) for one in self.targets}
        for source in sources:
            held = self.held[source.id]
            assert source.target_id == held
            if held is None:
                assert source.target is None
            elif held in there:
                assert str(source.target.id) == held
            else:
                with pytest.raises(MissingReference):
                    _ = source.target

    def check(self) -> None:
        """Both sides agree with the identifiers, and what dangles is reported."""
        with self.near.transaction():
            sources = self.near.find(self.Source)
            assert {one.id for one in sources} == set(self.held)
            self.compare(sources)
        with self.far.transaction():
            for target in self.far.find(self.Target):
                mine = {one for one, held in self.held.items() if held == str(target.id)}
                assert {one.id for one in target.sources} == mine
        reported = {one.key for one in self.link.lifecycle.references.check(self.Source)}
        assert reported == {str(one) for one in self.dangling()}

    # --- the log ---

    def logged(self) -> dict[tuple[str, str], str | None]:
        """What refers to what, and what there is, as the log replayed from empty has it.

        Each old value in it must be what was there.
        """
        entities = "Source", "Target"
        records = {
            record.id: record
            for world in (self.near, self.far)
            for record in world.records()
            if record.entity in entities
        }
        state = replayed({}, sorted(records.values(), key=lambda one: one.revision.at))
        return {key: values.get("target_id") for key, values in state.items()}

    def stored(self) -> dict[tuple[str, str], str | None]:
        """The same, as the databases have it."""
        return {("Source", str(one.id)): one.target_id for one in self.near.find(self.Source)} | {
            ("Target", str(one.id)): None for one in self.far.find(self.Target)
        }


@pytest.fixture(params=["sqlite-mongo", "mongo-sqlite"])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    """Rows that refer to documents, and documents that refer to rows."""
    with linked(request, request.param) as made:
        yield made


@pytest.mark.parametrize("on_delete", ["nullify", "cascade", "restrict"])
def test_references_agree_with_identifiers_and_the_log_replays(link: Link, on_delete: str) -> None:
    """Whatever is done on either side; at the end the log has all of both databases."""
    machine = Machine(link, on_delete)

    @settings(max_examples=5, suppress_health_check=list(HealthCheck))
    @given(st.lists(OPERATIONS, min_size=4, max_size=8))
    def any_sequence(operations: list[Any]) -> None:
        machine.begin()
        for name, *arguments in operations:
            getattr(machine, name)(*arguments)
            machine.check()

    any_sequence()
    assert machine.logged() == machine.stored() != {}


def test_the_comparison_would_find_what_the_log_does_not_have(link: Link) -> None:
    """So that the test above can fail."""
    machine = Machine(link, "nothing")
    machine.begin()
    assert machine.logged() == machine.stored()
    with link.lifecycle.suppressed():
        machine.assign(0, 1)
    assert machine.logged() != machine.stored()
