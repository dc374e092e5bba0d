"""Many-to-many collections: what hooks are told of them, and what is recorded, on each database."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, String, Table, insert, update
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    WriteOnlyMapped,
    mapped_column,
    relationship,
    sessionmaker,
)

from lifecycle import (
    ABSENT,
    MASKED,
    UNKNOWN,
    Change,
    Lifecycle,
    audited,
    not_audited,
    post_commit,
    post_remove,
    post_update,
    pre_persist,
    pre_remove,
    pre_update,
)
from lifecycle.changes import SetEdit

Start = Callable[[], sessionmaker[Session]]
Recorded = Callable[[], list[tuple[Any, ...]]]


def edit(added: set[Any] = frozenset(), removed: set[Any] = frozenset()) -> SetEdit:  # type: ignore[assignment]
    return SetEdit(frozenset(added), frozenset(removed))


def posts_and_tags(
    base: type[DeclarativeBase], *, one_sided: bool = False, decorate: Any = lambda cls: cls
) -> Any:
    """Posts with a name and tags; the tags know their posts unless it is one-sided."""
    tagging = Table(
        "tagging",
        base.metadata,
        Column("post_id", ForeignKey("posts.id"), primary_key=True),
        Column("tag_id", ForeignKey("tags.id"), primary_key=True),
    )

    @decorate
    class Post(base):
        __tablename__ = "posts"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None] = mapped_column(String(20))
        tags: Mapped[list[Any]] = relationship(
            "Tag", secondary=tagging, back_populates=None if one_sided else "posts"
        )

    class Tag(base):
        __tablename__ = "tags"
        id: Mapped[int] = mapped_column(primary_key=True)
        if not one_sided:
            posts: Mapped[set[Any]] = relationship("Post", secondary=tagging, back_populates="tags")

    return SimpleNamespace(Post=Post, Tag=Tag)


class TestRecords:
    """What is recorded."""

    @pytest.fixture
    def models(self, base: type[DeclarativeBase]) -> Any:
        return posts_and_tags(base)

    @pytest.fixture
    def factory(self, models: Any, start: Start) -> sessionmaker[Session]:
        """Post 1 with tag 1; tag 2 without a post."""
        factory = start()
        with factory.begin() as session:
            session.add(models.Post(tags=[models.Tag()]))
            session.flush()
            session.add(models.Tag())
        return factory

    def test_new_objects_have_their_members_in_the_record_of_their_insert(
        self, factory: Any, recorded: Recorded
    ) -> None:
        """Both ends of the relationship name the other's key."""
        changes = {(entity, key): found for _, entity, key, found in recorded()}
        assert changes["Post", "1"]["tags"] == edit({"1"})
        assert changes["Tag", "1"]["posts"] == edit({"1"})
        assert "posts" not in changes["Tag", "2"]

    def test_a_member_that_an_earlier_flush_has_deleted_does_not_go_again(
        self, models: Any, factory: Any, recorded: Recorded
    ) -> None:
        """The collection has it until it is loaded again; SQLAlchemy passes it over."""
        with factory.begin() as session:
            post, tag = session.get_one(models.Post, 1), session.get_one(models.Tag, 1)
            assert tag.posts == {post}
            session.delete(post)
            session.flush()
            assert tag.posts == {post}
            session.delete(tag)
        assert recorded()[3:] == [
            ("update", "Tag", "1", {"posts": edit(removed={"1"})}),
            (
                "delete",
                "Post",
                "1",
                {
                    "id": Change(1, ABSENT),
                    "name": Change(None, ABSENT),
                    "tags": edit(removed={"1"}),
                },
            ),
            ("delete", "Tag", "1", {"id": Change(1, ABSENT)}),
        ]

    def test_a_member_that_comes_and_one_that_goes_are_updates_of_both_ends(
        self, models: Any, factory: Any, recorded: Recorded
    ) -> None:
        """Also of ends whose collection was not loaded."""
        with factory.begin() as session:
            session.get_one(models.Post, 1).tags = [session.get_one(models.Tag, 2)]
        assert recorded()[3:] == [
            ("update", "Post", "1", {"tags": edit({"2"}, {"1"})}),
            ("update", "Tag", "1", {"posts": edit(removed={"1"})}),
            ("update", "Tag", "2", {"posts": edit({"1"})}),
        ]

    def test_the_keys_of_new_members_are_the_generated_ones(
        self, models: Any, factory: Any, recorded: Recorded
    ) -> None:
        """The record is made when the database has given out the keys."""
        with factory.begin() as session:
            post = session.get_one(models.Post, 1)
            post.tags.append(models.Tag())
        (added,) = [found for _, entity, _, found in recorded()[3:] if entity == "Post"]
        assert added == {"tags": edit({"3"})}

    def test_a_column_and_a_collection_are_one_record(
        self, models: Any, factory: Any, recorded: Recorded
    ) -> None:
        """One object changed once in a flush has one record."""
        with factory.begin() as session:
            post = session.get_one(models.Post, 1)
            assert post.tags
            post.name = "new"
            post.tags.clear()
        assert recorded()[3] == (
            "update",
            "Post",
            "1",
            {"name": Change(None, "new"), "tags": edit(removed={"1"})},
        )

    def test_out_and_in_again_is_no_change(
        self, models: Any, factory: Any, recorded: Recorded
    ) -> None:
        """A member that is back before the flush never left."""
        with factory.begin() as session:
            post = session.get_one(models.Post, 1)
            tag = post.tags.pop()
            post.tags.append(tag)
        assert len(recorded()) == 3

    @pytest.mark.parametrize("loaded", [True, False])
    def test_deleting_an_owner_takes_its_members_from_both_ends(
        self, loaded: bool, models: Any, factory: Any, recorded: Recorded
    ) -> None:
        """The rows of the association table that are deleted with it are in the log."""
        with factory.begin() as session:
            post = session.get_one(models.Post, 1)
            if loaded:
                assert post.tags
            session.delete(post)
        assert recorded()[3:] == [
            ("update", "Tag", "1", {"posts": edit(removed={"1"})}),
            (
                "delete",
                "Post",
                "1",
                {
                    "id": Change(1, ABSENT),
                    "name": Change(None, ABSENT),
                    "tags": edit(removed={"1"}),
                },
            ),
        ]

    def test_the_state_of_a_time_has_the_members_of_that_time(
        self, models: Any, factory: Any, lifecycle: Lifecycle
    ) -> None:
        """Edits of a collection add up to the set of its keys."""
        with factory.begin() as session:
            post = session.get_one(models.Post, 1)
            post.tags.append(session.get_one(models.Tag, 2))
        (newest, *_) = lifecycle.history.of(models.Post, 1)
        state = lifecycle.history.as_of(models.Post, 1, newest.revision)
        assert state["tags"] == {"1", "2"}


def test_a_one_sided_relationship_changes_its_own_side_only(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """The other class has no field to record it under."""
    models = posts_and_tags(base, one_sided=True)
    factory = start()
    with factory.begin() as session:
        session.add(models.Post(id=1))
        session.add(models.Tag(id=1))
    with factory.begin() as session:
        post = session.get_one(models.Post, 1)
        post.tags.append(session.get_one(models.Tag, 1))
    assert recorded()[2:] == [("update", "Post", "1", {"tags": edit({"1"})})]


def test_a_statement_after_a_flush_that_had_nothing_left_to_write_is_recorded(
    base: type[DeclarativeBase], start: Start, recorded: Recorded, lifecycle: Lifecycle
) -> None:
    """SQLAlchemy does not tell that such a flush is over."""
    models = posts_and_tags(base)
    factory = start()
    with factory.begin() as session:
        session.add_all([models.Post(id=1), models.Tag(id=1)])

    @lifecycle.subscribe
    @pre_persist(models.Post)
    def keep_out(event: Any) -> None:
        event.session.expunge(event.instance)

    with factory.begin() as session:
        session.add(models.Post(id=2))
        session.flush()
        session.execute(insert(base.metadata.tables["tagging"]).values(post_id=1, tag_id=1))
        session.execute(update(models.Post).values(name="x"))
    found = sorted((entity, key) for _, entity, key, _ in recorded()[2:])
    assert found == [("Post", "1"), ("Post", "1"), ("Tag", "1")]


def test_a_write_only_collection_is_recorded_without_loading_it(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """What is added to it, and removed from it, is known without its other members."""
    membership = Table(
        "membership",
        base.metadata,
        Column("club_id", ForeignKey("clubs.id"), primary_key=True),
        Column("person_id", ForeignKey("people.id"), primary_key=True),
    )

    class Club(base):
        __tablename__ = "clubs"
        id: Mapped[int] = mapped_column(primary_key=True)
        members: WriteOnlyMapped[Any] = relationship(
            "Person", secondary=membership, passive_deletes=True
        )

    class Person(base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)

    factory = start()
    with factory.begin() as session:
        club = Club(id=1)
        club.members.add_all([Person(id=1), Person(id=2)])
        session.add(club)
    with factory.begin() as session:
        session.get_one(Club, 1).members.remove(session.get_one(Person, 1))
    assert recorded()[-1] == ("update", "Club", "1", {"members": edit(removed={"1"})})


def test_one_end_that_is_not_audited_leaves_the_other_recorded(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """The tag's history is complete though the post has none."""
    models = posts_and_tags(base, decorate=not_audited)
    factory = start()
    with factory.begin() as session:
        session.add(models.Post(id=1, tags=[models.Tag(id=1)]))
    with factory.begin() as session:
        session.delete(session.get_one(models.Post, 1))
    assert recorded() == [
        ("insert", "Tag", "1", {"id": Change(ABSENT, 1), "posts": edit({"1"})}),
        ("update", "Tag", "1", {"posts": edit(removed={"1"})}),
    ]


def test_a_collection_can_be_masked_or_excluded(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """As any other field: that it changed, or nothing at all."""
    models = posts_and_tags(base, decorate=audited(mask={"tags"}))
    audited(exclude={"posts"})(models.Tag)
    factory = start()
    with factory.begin() as session:
        session.add(models.Post(id=1))
        session.add(models.Tag(id=1))
    with factory.begin() as session:
        post = session.get_one(models.Post, 1)
        post.tags.append(session.get_one(models.Tag, 1))
    assert recorded()[2:] == [("update", "Post", "1", {"tags": Change(MASKED, MASKED)})]


class TestHooks:
    """What hooks are told."""

    @pytest.fixture
    def engine(self, sqlite_engine: Any) -> Any:
        """Hooks do not depend on the database."""
        return sqlite_engine

    @pytest.fixture
    def models(self, base: type[DeclarativeBase]) -> Any:
        return posts_and_tags(base)

    @pytest.fixture
    def factory(self, models: Any, start: Start) -> sessionmaker[Session]:
        """Post 1 with tag 1; tag 2 without a post."""
        factory = start()
        with factory.begin() as session:
            session.add(models.Post(tags=[models.Tag()]))
            session.flush()
            session.add(models.Tag())
        return factory

    @pytest.fixture
    def told(self, factory: Any, lifecycle: Lifecycle) -> list[Any]:
        told: list[Any] = []

        @lifecycle.subscribe
        @pre_update
        @post_update
        @pre_remove
        @post_remove
        @post_commit
        @pre_persist
        def note(event: Any) -> None:
            told.append((str(event.moment), event.entity, event.key, dict(event.changes)))

        return told

    def test_a_change_of_members_alone_is_an_update(
        self, models: Any, factory: Any, told: list[Any]
    ) -> None:
        """Before and after it, and after the commit, on both ends."""
        with factory.begin() as session:
            post = session.get_one(models.Post, 1)
            post.tags.append(session.get_one(models.Tag, 2))
        post, tag = {"tags": edit({"2"})}, {"posts": edit({"1"})}
        assert sorted(told, key=str) == [
            ("post_commit", "Post", "1", post),
            ("post_commit", "Tag", "2", tag),
            ("post_update", "Post", "1", post),
            ("post_update", "Tag", "2", tag),
            ("pre_update", "Post", "1", post),
            ("pre_update", "Tag", "2", tag),
        ]

    def test_the_key_of_a_member_without_one_is_unknown_before_the_flush(
        self, models: Any, factory: Any, told: list[Any]
    ) -> None:
        """And the true one after it."""
        with factory.begin() as session:
            post = session.get_one(models.Post, 1)
            post.tags.append(models.Tag())
        found = {moment: changes for moment, entity, _, changes in told if entity == "Post"}
        assert found["pre_update"] == {"tags": edit({UNKNOWN})}
        assert found["post_update"] == {"tags": edit({"3"})}

    def test_before_an_owner_is_removed_its_members_are_told(
        self, models: Any, factory: Any, told: list[Any]
    ) -> None:
        """The other end is told after it, for only the flush itself decides on it."""
        with factory.begin() as session:
            session.delete(session.get_one(models.Post, 1))
        assert told[0][:3] == ("pre_remove", "Post", "1")
        assert told[0][3]["tags"] == edit(removed={"1"})
        assert ("post_update", "Tag", "1", {"posts": edit(removed={"1"})}) in told

    def test_when_can_name_a_collection(
        self, models: Any, factory: Any, lifecycle: Lifecycle
    ) -> None:
        """The hook runs for changes of members and for no others."""
        ran = []

        @lifecycle.subscribe
        @pre_update(models.Post, when="tags")
        def note(event: Any) -> None:
            ran.append(event.changes["tags"])

        with factory.begin() as session:
            post = session.get_one(models.Post, 1)
            post.name = "new"
            session.flush()
            post.tags.clear()
        assert ran == [edit(removed={"1"})]

    def test_what_a_hook_does_to_a_collection_is_written_and_shows_for_the_next(
        self, models: Any, factory: Any, lifecycle: Lifecycle, recorded: Recorded
    ) -> None:
        """By assignment, in place, and by `changes.set`."""
        seen = []

        @lifecycle.subscribe
        @pre_update(models.Post, when="name", priority=1)
        def clear(event: Any) -> None:
            if event.instance.name == "in place":
                event.instance.tags.clear()
            elif event.instance.name == "set":
                event.changes.set("tags", [])

        @lifecycle.subscribe
        @pre_update(models.Post)
        def look(event: Any) -> None:
            seen.append(event.changes.get("tags"))

        for name in ("in place", "set"):
            with factory.begin() as session:
                post = session.get_one(models.Post, 1)
                post.tags = [session.get_one(models.Tag, 1)]
                session.flush()
                seen.clear()
                post.name = name
            assert seen == [edit(removed={"1"})], name
            assert recorded()[-2][3] == {
                "name": seen and recorded()[-2][3]["name"],
                "tags": seen[0],
            }

    def test_members_in_and_out_again_in_one_transaction_are_no_change_after_it(
        self, models: Any, factory: Any, told: list[Any]
    ) -> None:
        """Two flushes that undo each other leave nothing for post_commit."""
        with factory.begin() as session:
            post, tag = session.get_one(models.Post, 1), session.get_one(models.Tag, 2)
            post.tags.append(tag)
            session.flush()
            post.tags.remove(tag)
        assert not [one for one in told if one[0] == "post_commit"]
