"""Hooks around a flush."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    mapped_column,
    relationship,
)

from lifecycle import (
    ABSENT,
    UNKNOWN,
    Change,
    Lifecycle,
    Veto,
    any_of,
    post_persist,
    post_remove,
    post_update,
    pre_persist,
    pre_remove,
    pre_update,
)
from lifecycle.errors import FrozenChangesError, HookDefinitionError, HookLoopError
from tests.sqlalchemy.conftest import Recorded, Start, user_model


@pytest.fixture
def engine(sqlite_engine: Any) -> Any:
    """Hooks do not depend on the database."""
    return sqlite_engine


def test_never_alice_only_bob_as_a_method(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """A pre hook changes what is about to be written; the log and the row have what was written."""

    class NeverAlice:
        @pre_update(when="name")
        def only_bob(self, event: Any) -> None:
            if event.changes.new("name") == "Alice":
                event.changes.set("name", "Bob")

    user, factory = user_model(base, NeverAlice), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    with factory.begin() as session:
        session.get_one(user, 1).name = "Alice"
    assert recorded()[1][3] == {"name": Change("Eve", "Bob")}
    with factory() as session:
        assert session.scalars(select(user.name)).all() == ["Bob"]


def test_never_alice_only_bob_as_a_subscriber(
    base: type[DeclarativeBase], start: Start, recorded: Recorded, lifecycle: Lifecycle
) -> None:
    """The same hook works from outside the model, as a function or an object's method."""
    user, factory = user_model(base), start()

    @lifecycle.subscribe
    @pre_update(user, when="name", becomes="Alice")
    def only_bob(event: Any) -> None:
        event.instance.name = "Bob"

    @lifecycle.subscribe
    class OnlyBob:
        @pre_persist
        def on_insert(self, event: Any) -> None:
            if event.changes.new("name") == "Alice":
                event.changes.set("name", "Bob")

    with factory.begin() as session:
        session.add_all([user(name="Eve"), user(name="Alice")])
    with factory.begin() as session:
        session.get_one(user, 1).name = "Alice"
    assert recorded()[2][3] == {"name": Change("Eve", "Bob")}
    assert recorded()[1][3]["name"] == Change(ABSENT, "Bob")


def test_every_moment_is_told_of_the_object_and_its_changes(
    base: type[DeclarativeBase], start: Start, seen: list[Any]
) -> None:
    """Pre hooks run before the keys are known, post hooks after, each with its changes."""

    def note(self: Any, event: Any) -> None:
        seen.append((event.moment, event.operation, event.key, dict(event.changes)))

    class Noting:
        all_moments = pre_persist(
            post_persist(pre_update(post_update(pre_remove(post_remove(note)))))
        )

    user, factory = user_model(base, Noting), start()
    with factory.begin() as session:
        eve = user(name="Eve")
        session.add(eve)
        session.flush()
        eve.name = "Bob"
        session.flush()
        session.delete(eve)
    gone = {"id": Change(1, ABSENT), "name": Change("Bob", ABSENT), "nick": Change(None, ABSENT)}
    assert seen == [
        ("pre_persist", "insert", None, {"name": Change(ABSENT, "Eve")}),
        (
            "post_persist",
            "insert",
            "1",
            {"id": Change(ABSENT, 1), "name": Change(ABSENT, "Eve"), "nick": Change(ABSENT, None)},
        ),
        ("pre_update", "update", "1", {"name": Change("Eve", "Bob")}),
        ("post_update", "update", "1", {"name": Change("Eve", "Bob")}),
        ("pre_remove", "delete", "1", gone),
        ("post_remove", "delete", "1", gone),
    ]


def test_update_hooks_run_only_for_a_real_change(
    base: type[DeclarativeBase], start: Start, seen: list[Any]
) -> None:
    """Setting a value back, or to itself, is no update."""

    class Noting:
        @pre_update
        def before(self) -> None:
            seen.append("pre")

        @post_update
        def after(self) -> None:
            seen.append("post")

    user, factory = user_model(base, Noting), start()
    with factory.begin() as session:
        eve = user(name="Eve")
        session.add(eve)
        session.flush()
        eve.name = "Bob"
        eve.name = "Eve"
    assert seen == []


def test_a_hook_may_set_a_field_that_did_not_change(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """changes.set and plain assignment both work for any mapped field."""

    class Nicknamed:
        @pre_update(when="name")
        def nickname(self, event: Any) -> None:
            event.changes.set("nick", event.changes.old("name"))

    user, factory = user_model(base, Nicknamed), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    with factory.begin() as session:
        session.get_one(user, 1).name = "Bob"
    assert recorded()[1][3] == {"name": Change("Eve", "Bob"), "nick": Change(None, "Eve")}


def test_setting_a_field_that_is_not_mapped_is_refused(
    base: type[DeclarativeBase], start: Start
) -> None:
    """The error names the model and the fields it has."""

    class Wrong:
        @pre_persist
        def wrong(self, event: Any) -> None:
            event.changes.set("nmae", "x")

    user, factory = user_model(base, Wrong), start()
    refused = pytest.raises(LookupError, match="no mapped field 'nmae'; it has id, name, nick")
    with refused, factory.begin() as session:
        session.add(user(name="Eve"))


def test_a_post_hook_cannot_change_what_was_written(
    base: type[DeclarativeBase], start: Start
) -> None:
    """Changes are frozen once they are in the database."""

    class Late:
        @post_persist
        def too_late(self, event: Any) -> None:
            event.changes.set("name", "x")

    user, factory = user_model(base, Late), start()
    with (
        pytest.raises(FrozenChangesError, match="'name' cannot be set"),
        factory.begin() as session,
    ):
        session.add(user(name="Eve"))


def test_a_veto_stops_the_flush_and_leaves_the_session_usable(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """The error names hook, object and reason; the objects stay as they were set."""

    class Guarded:
        @pre_update
        def guard(self, event: Any) -> None:
            if self.name == "Mallory":  # type: ignore[attr-defined]
                event.veto("not on my watch")

    user, factory = user_model(base, Guarded), start()
    with factory() as session:
        eve = user(name="Eve")
        session.add(eve)
        session.flush()
        eve.name = "Mallory"
        with pytest.raises(Veto, match=r"Guarded\.guard refused to update User 1: not on my watch"):
            session.flush()
        assert eve in session.dirty
        eve.name = "Bob"
        session.commit()
    assert recorded()[1][3] == {"name": Change("Eve", "Bob")}


def test_an_error_in_a_hook_goes_on_with_a_note_that_names_it(
    base: type[DeclarativeBase], start: Start
) -> None:
    """Whatever a hook raises arrives as it is, and says where it came from."""

    class Broken:
        @pre_persist
        def broken(self) -> None:
            raise ZeroDivisionError

    user, factory = user_model(base, Broken), start()
    with pytest.raises(ZeroDivisionError) as caught, factory.begin() as session:
        session.add(user(name="Eve"))
    (note,) = caught.value.__notes__
    assert note.endswith("Broken.broken at pre_persist of User (new)")


def test_a_hook_sees_what_another_hook_did_to_its_object(
    base: type[DeclarativeBase], start: Start, seen: list[Any]
) -> None:
    """A hook is called again when its object changed after it had looked, and then rests."""

    class Two:
        @pre_persist
        def first(self, event: Any) -> None:
            seen.append(("first", event.changes.get("nick")))

        @pre_persist
        def second(self, event: Any) -> None:
            seen.append(("second", event.changes.get("nick")))
            event.changes.set("nick", "n")

    user, factory = user_model(base, Two), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    assert seen == [("first", None), ("second", None), ("first", Change(ABSENT, "n"))]


def test_a_hook_sees_an_equal_value_that_another_hook_has_put_there(
    base: type[DeclarativeBase], start: Start, seen: list[Any]
) -> None:
    """A price that one hook gives two places has two places for the next."""

    class Priced(base):
        __tablename__ = "priced"
        id: Mapped[int] = mapped_column(primary_key=True)
        price: Mapped[Decimal]

        @pre_persist
        def two_places(self) -> None:
            self.price = self.price.quantize(Decimal("0.01"))

        @pre_persist
        def look(self, event: Any) -> None:
            seen.append(str(event.changes.new("price")))

    with start().begin() as session:
        session.add(Priced(price=Decimal("1.5")))
    assert seen == ["1.50"]


def test_a_hook_is_not_called_again_for_what_it_did_itself(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """A hook that counts up counts once."""

    class Counting:
        @pre_persist
        def count(self) -> None:
            self.name += "!"

    user, factory = user_model(base, Counting), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    assert recorded()[0][3]["name"] == Change(ABSENT, "Eve!")


def test_a_hook_that_sets_a_value_is_not_called_again_for_it(
    base: type[DeclarativeBase], start: Start, seen: list[Any]
) -> None:
    """Of an update as of an insert, and whichever way it sets the value."""

    class Setting:
        @pre_persist
        @pre_update(when="name")
        def nickname(self, event: Any) -> None:
            seen.append(event.moment)
            event.changes.set("nick", f"{event.changes.new('name')}y")

    user, factory = user_model(base, Setting), start()
    with factory.begin() as session:
        eve = user(name="Eve")
        session.add(eve)
        session.flush()
        eve.name = "Bob"
    assert seen == ["pre_persist", "pre_update"]


def test_objects_added_by_a_hook_get_their_own_hooks(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """Adding, deleting and querying inside a pre hook is fine."""

    class Doubling:
        @pre_persist(when="name", becomes="Eve")
        def double(self, event: Any) -> None:
            event.session.add(type(self)(name="copy of Eve"))  # type: ignore[call-arg]

        @pre_persist(priority=-1)
        def shout(self) -> None:
            self.name = self.name.upper()  # type: ignore[has-type]

    user, factory = user_model(base, Doubling), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    assert sorted(changes["name"].new for *_, changes in recorded()) == ["COPY OF EVE", "EVE"]


def test_hooks_that_never_rest_are_an_error_that_names_them(
    base: type[DeclarativeBase], start: Start
) -> None:
    """Two hooks that undo each other's work are stopped, and nothing is written."""

    class Quarrel:
        @pre_persist
        def left(self) -> None:
            self.name += "l"

        @pre_persist
        def right(self) -> None:
            self.name += "r"

    user, factory = user_model(base, Quarrel), start()
    with factory() as session:
        session.add(user(name=""))
        with pytest.raises(HookLoopError, match=r"Quarrel\.left of User.*Quarrel\.right of User"):
            session.flush()
        assert session.is_active


def test_an_endless_loop_is_no_loop_when_the_hooks_only_look(
    base: type[DeclarativeBase], start: Start, seen: list[Any]
) -> None:
    """Hooks that change nothing run once."""

    class Looking:
        @pre_persist
        def look(self) -> None:
            seen.append(self)

    user, factory = user_model(base, Looking), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    assert len(seen) == 1


def test_a_condition_holds_for_a_foreign_key_set_through_a_relationship(
    base: type[DeclarativeBase], start: Start, seen: list[Any]
) -> None:
    """The hook sees the column the flush will set, before the flush does."""

    class Order(base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Line(base):
        __tablename__ = "order_lines"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
        order: Mapped[Any] = relationship("Order")

        @pre_update(when="order_id")
        def moved(self, event: Any) -> None:
            seen.append(event.changes["order_id"])

    factory = start()
    with factory.begin() as session:
        first, second, line = Order(id=1), Order(id=2), Line(id=1)
        line.order = first
        session.add_all([first, second, line])
        session.flush()
        line.order = second
        session.flush()
        line.order = None
        session.flush()
        line.order = Order()
    assert seen == [Change(1, 2), Change(2, None), Change(None, UNKNOWN)]


def test_hooks_run_base_first_then_as_defined_and_priority_before_all(
    base: type[DeclarativeBase], start: Start, seen: list[Any], lifecycle: Lifecycle
) -> None:
    """Subscribers come after the model's own hooks of the same priority."""

    class Mixin:
        @pre_persist
        def a(self) -> None:
            seen.append("mixin a")

        @pre_persist(priority=-1)
        def last(self) -> None:
            seen.append("last")

        @pre_persist
        def overridden(self) -> None:
            seen.append("never")

    class User(Mixin, base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)

        @pre_persist
        def b(self) -> None:
            seen.append("model b")

        def overridden(self) -> None:
            seen.append("not decorated, so no hook")

        @pre_persist(priority=1)
        def first(self) -> None:
            seen.append("first")

    @lifecycle.subscribe
    @pre_persist(Mixin)
    def outside(event: Any) -> None:
        seen.append("subscriber")

    with start().begin() as session:
        session.add(User())
    assert seen == ["first", "mixin a", "model b", "subscriber", "last"]


def test_conditions_on_values_see_what_earlier_hooks_set(
    base: type[DeclarativeBase], start: Start, seen: list[Any]
) -> None:
    """was= and becomes= are asked just before the hook runs."""

    class Conditional:
        @pre_update(when="name", was="Eve", becomes=any_of("Bob", "Carl"))
        def renamed(self) -> None:
            seen.append("renamed")

        @pre_update(priority=1)
        def carl(self) -> None:
            self.name = "Carl"

        @pre_update(when=("nick", "id"))
        def other(self) -> None:
            seen.append("other")

    user, factory = user_model(base, Conditional), start()
    with factory.begin() as session:
        eve = user(name="Eve")
        session.add(eve)
        session.flush()
        eve.name = "Dora"
    assert seen == ["renamed"]


def test_a_condition_on_an_unknown_field_is_found_before_any_write(
    base: type[DeclarativeBase], start: Start
) -> None:
    """Installing says which hook asks for what, and which fields there are."""

    class Wrong:
        @pre_update(when="nmae")
        def wrong(self) -> None: ...

    user = user_model(base, Wrong)
    user.registry.configure()
    with pytest.raises(
        HookDefinitionError, match=r"Wrong\.wrong.*asks about 'nmae'.*id, name, nick"
    ):
        start()


def test_a_condition_on_an_unknown_field_of_a_later_model_is_found_when_it_is_configured(
    base: type[DeclarativeBase], start: Start
) -> None:
    """Models declared after installing are checked as soon as SQLAlchemy configures them."""
    start()

    class Wrong:
        @pre_update(when="nmae")
        def wrong(self) -> None: ...

    user = user_model(base, Wrong)
    with pytest.raises(HookDefinitionError, match="asks about 'nmae'"):
        user.registry.configure()


def test_a_vetoed_delete_leaves_the_object(
    base: type[DeclarativeBase], start: Start, recorded: Recorded
) -> None:
    """pre_remove may refuse, and the object is still there."""

    class Kept:
        @pre_remove
        def keep(self, event: Any) -> None:
            event.veto("kept")

    user, factory = user_model(base, Kept), start()
    with factory.begin() as session:
        session.add(user(name="Eve"))
    with factory() as session:
        session.delete(session.get_one(user, 1))
        with pytest.raises(Veto, match="refused to delete User 1: kept"):
            session.commit()
    assert len(recorded()) == 1
