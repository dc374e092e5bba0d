"""Putting rows back through the unit of work."""

from __future__ import annotations

import enum
import gc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Enum,
    ForeignKey,
    String,
    Table,
    TypeDecorator,
    create_engine,
    select,
)
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, validates
from sqlalchemy.orm import sessionmaker as factory_of

from lifecycle import Lifecycle, Veto, acting, audited, pre_update
from lifecycle.audit import later
from lifecycle.audit.records import Record, Revision
from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.errors import HistoryError, InstallError, RestoreConflict
from lifecycle.markers import ABSENT
from lifecycle.uuids import uuid7
from tests.replaying import State, state_of
from tests.sqlalchemy.conftest import Start


class Colour(enum.Enum):
    """Stored by name."""

    RED = "r"
    BLUE = "b"


class Sealed(TypeDecorator[str]):
    """Stored in another way each time, as an encrypting type with a nonce does."""

    impl = String(80)
    cache_ok = True
    sealed = 0

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        Sealed.sealed += 1
        return None if value is None else f"{Sealed.sealed}:{value}"

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.partition(":")[2]


class Shop:
    """Models with relations, and what was done to them."""

    def __init__(self, base: Any, lifecycle: Lifecycle) -> None:
        self.lifecycle = lifecycle
        self.history, self.restore = lifecycle.history, lifecycle.restore
        tagged = Table(
            "put_tagged",
            base.metadata,
            Column("order_id", ForeignKey("put_order.id"), primary_key=True),
            Column("tag_id", ForeignKey("put_tag.id"), primary_key=True),
        )

        @audited(entity="put.Customer", mask={"password"})
        class Customer(base):
            __tablename__ = "put_customer"
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str] = mapped_column(String(50), unique=True)
            nick: Mapped[str | None] = mapped_column(String(50))
            colour: Mapped[Colour | None] = mapped_column(Enum(Colour))
            secret: Mapped[str | None] = mapped_column(Sealed())
            password: Mapped[str | None] = mapped_column(String(50))
            kind: Mapped[str] = mapped_column(String(20), default="customer")
            __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "customer"}

            @validates("nick")
            def _no_blank(self, key: str, value: str | None) -> str | None:
                if value == "":
                    raise ValueError("blank")
                return value

        class Vip(Customer):
            __tablename__ = "put_vip"
            id: Mapped[int] = mapped_column(ForeignKey("put_customer.id"), primary_key=True)
            level: Mapped[int | None]
            __mapper_args__ = {"polymorphic_identity": "vip"}

        @audited(entity="put.Order")
        class Order(base):
            __tablename__ = "put_order"
            id: Mapped[int] = mapped_column(primary_key=True)
            total: Mapped[int | None]
            customer_id: Mapped[int | None] = mapped_column(ForeignKey("put_customer.id"))
            lines: Mapped[list[Any]] = relationship("PutLine", cascade="all, delete-orphan")
            tags: Mapped[set[Any]] = relationship(
                "PutTag", secondary=tagged, back_populates="orders"
            )

        class PutLine(base):
            __tablename__ = "put_line"
            order_id: Mapped[int] = mapped_column(ForeignKey("put_order.id"), primary_key=True)
            number: Mapped[str] = mapped_column(String(20), primary_key=True)
            qty: Mapped[int] = mapped_column(default=1)

        class PutTag(base):
            __tablename__ = "put_tag"
            id: Mapped[int] = mapped_column(primary_key=True)
            orders: Mapped[set[Any]] = relationship(
                "Order", secondary=tagged, back_populates="tags"
            )

        class PutNode(base):
            __tablename__ = "put_node"
            id: Mapped[int] = mapped_column(primary_key=True)
            parent_id: Mapped[int | None] = mapped_column(ForeignKey("put_node.id"))
            buddy_id: Mapped[int | None] = mapped_column(ForeignKey("put_node.id"))

        self.customer, self.vip, self.order = Customer, Vip, Order
        self.line, self.tag, self.node = PutLine, PutTag, PutNode
        self.tagged = tagged
        self.factory: factory_of[Session]

    def done(self, work: Callable[[Session], Any], actor: str | None = None) -> Revision:
        """What was done in one transaction."""
        with acting(actor), self.factory.begin() as session:
            work(session)
        return next(self.history.find()).revision

    def add(self, *things: Any, by: str | None = None) -> Revision:
        """Insert objects."""
        return self.done(lambda session: session.add_all(things), actor=by)

    def set(self, cls: Any, identity: Any, *, by: str | None = None, **values: Any) -> Revision:
        """Update one object."""

        def work(session: Session) -> None:
            found = session.get_one(cls, identity)
            for name, value in values.items():
                setattr(found, name, value)

        return self.done(work, actor=by)

    def delete(self, cls: Any, identity: Any) -> Revision:
        """Delete one object."""
        return self.done(lambda session: session.delete(session.get_one(cls, identity)))

    def record(self, revision: Revision) -> Record:
        """The one record of a revision."""
        (record,) = self.history.find(revision=revision)
        return record

    def state(self) -> State:
        """What all tables hold."""
        with self.factory() as session:
            found = state_of(
                session,
                [self.customer, self.order, self.line, self.tag, self.node],
                [(self.order, "tags", self.tagged.c.order_id, self.tagged.c.tag_id)],
            )
        return found

    def refused(self, **verb: Any) -> list[tuple[str, str | None, str]]:
        """The conflicts of a preview, which is then refused with nothing written."""
        before, last = self.state(), next(self.history.find()).id
        preview = self.restore.preview(**verb)
        with pytest.raises(RestoreConflict, match="Nothing was written"):
            self.restore.apply(preview)
        assert self.state() == before
        assert next(self.history.find()).id == last
        return [(one.kind, one.field, str(one)) for one in preview.conflicts]


@pytest.fixture
def shop(base: type[DeclarativeBase], lifecycle: Lifecycle, start: Start) -> Shop:
    """The models on each database."""
    made = Shop(base, lifecycle)
    made.factory = start()
    return made


# --- undo ---


def test_undo_inverts_one_change_and_leaves_later_ones_to_other_fields(shop: Shop) -> None:
    """The revision it makes names what it reverts, and says so as its reason."""
    shop.add(shop.customer(id=1, name="Eve", nick="e"))
    wrong = shop.set(shop.customer, 1, name="Bob", by="bob")
    shop.set(shop.customer, 1, nick="b")

    with acting("ann"):
        restored = shop.restore.undo(shop.record(wrong))

    (step,) = restored.preview.steps
    assert step.changes == {"name": Change("Bob", "Eve")}
    record = next(shop.history.of(shop.customer, 1))
    assert record.changes == {"name": Change("Bob", "Eve")}
    assert (record.actor, record.reason) == (
        "ann",
        f"undo record {shop_id(wrong)} of put.Customer 1",
    )
    assert record.revision.context["restores"]["revisions"] == [str(wrong.id)]
    assert record.revision.group == restored.group


def shop_id(revision: Revision) -> str:
    """The id of a revision's first record."""
    return f"{revision.id}.0"


def test_the_undo_of_an_undo_is_the_state_before(shop: Shop) -> None:
    """A restore is a revision like any other."""
    shop.add(shop.customer(id=1, name="Eve", colour=Colour.RED, secret="s"))
    change = shop.set(shop.customer, 1, name="Bob", colour=Colour.BLUE, secret="t")
    after = shop.state()
    restored = shop.restore.undo(change)
    assert shop.state() != after
    shop.restore.undo(restored)
    assert shop.state() == after


def test_nothing_to_do_is_said_and_not_done(shop: Shop) -> None:
    """No revision is made for it."""
    shop.add(shop.customer(id=1, name="Eve"))
    change = shop.set(shop.customer, 1, name="Bob")
    shop.set(shop.customer, 1, name="Eve")
    last = next(shop.history.find()).id

    preview = shop.restore.preview(undo=change)
    assert not preview
    assert "nothing to do" in str(preview)
    assert not shop.restore.apply(preview)
    assert next(shop.history.find()).id == last


def test_only_chosen_fields_are_put_back(shop: Shop) -> None:
    """By name, or by a function of object and field."""
    shop.add(shop.customer(id=1, name="Eve", nick="e"))
    change = shop.set(shop.customer, 1, name="Bob", nick="b")
    shop.restore.undo(change, fields={"nick"})
    with shop.factory() as session:
        found = session.get_one(shop.customer, 1)
        assert (found.name, found.nick) == ("Bob", "e")
    preview = shop.restore.preview(undo=change, fields=lambda entity, key, name: name == "name")
    assert [list(step.changes) for step in preview.steps] == [["name"]]


def test_a_whole_revision_is_undone_over_relations_in_an_order_that_works(shop: Shop) -> None:
    """An order with lines and tags, and a customer, in both directions; also the way back."""
    empty = shop.state()
    order = shop.order(id=1, total=5, customer_id=1, lines=[shop.line(number="a,1", qty=1)])
    order.tags = {shop.tag(id=1), shop.tag(id=2)}

    def work(session: Session) -> None:
        session.add(shop.customer(id=1, name="Eve"))
        session.flush()
        session.add(order)

    made = shop.done(work)
    full = shop.state()
    gone = shop.restore.undo(made)
    assert shop.state() == empty
    shop.restore.undo(gone)
    assert shop.state() == full


def test_rows_that_refer_to_each_other_in_a_circle_come_and_go(shop: Shop) -> None:
    """A foreign key that may be empty is set last, and emptied first."""
    empty = shop.state()

    def work(session: Session) -> None:
        session.add_all([shop.node(id=1), shop.node(id=2, parent_id=1)])
        session.flush()
        session.get_one(shop.node, 1).buddy_id = 2

    made = shop.done(work)
    full = shop.state()
    gone = shop.restore.undo(made)
    assert shop.state() == empty
    shop.restore.undo(gone)
    assert shop.state() == full


def test_a_unique_value_is_freed_before_it_is_taken_again(shop: Shop) -> None:
    """One object had taken it over from another, in two flushes of one transaction."""
    shop.add(shop.customer(id=1, name="Eve"))
    before = shop.state()

    def work(session: Session) -> None:
        session.delete(session.get_one(shop.customer, 1))
        session.flush()
        session.add(shop.customer(id=2, name="Eve"))

    change = shop.done(work)
    shop.restore.undo(change)
    assert shop.state() == before


def test_a_changed_key_is_put_back(shop: Shop) -> None:
    """The object is found where it is, and goes where it was."""
    shop.add(shop.tag(id=1))
    change = shop.set(shop.tag, 1, id=2)
    shop.restore.undo(change)
    assert list(shop.state()) == [("PutTag", "1")]


def test_a_field_that_nothing_has_is_refused(shop: Shop) -> None:
    """One that the model has and these records did not change is nothing to do."""
    made = shop.add(shop.vip(id=1, name="Eve", level=1))
    change = shop.set(shop.vip, 1, nick="n")
    record = shop.record(change)
    for verb in ({"undo": change}, {"undo": [record]}, {"to": record}):
        with pytest.raises(HistoryError, match=r"put.Customer has no field 'nik', .* mean nick\?"):
            shop.restore.preview(**verb, fields=["nick", "nik"])
    for field in ("name", "level", "password"):
        assert not shop.restore.undo(change, fields=[field])
    assert not shop.restore.to(shop.record(made), fields=["level"])
    with pytest.raises(HistoryError, match=r"there are .*colour, id, kind"):
        shop.restore.undo(change, fields=["zzz"])


# --- restore to, and undelete ---


def test_to_makes_an_object_what_it_was_whatever_happened_since(shop: Shop) -> None:
    """Values and many-to-many rows; unlike an undo of one change."""
    order = shop.order(id=1, total=1)
    order.tags = {shop.tag(id=1)}
    first = shop.add(order)
    before = shop.state()
    shop.set(shop.order, 1, total=2)
    shop.set(shop.order, 1, total=3, tags=set())
    record = next(r for r in shop.history.find(revision=first) if r.entity == "put.Order")
    shop.restore.to(record)
    assert shop.state() == before
    assert not shop.restore.to(record)


def test_a_deleted_object_comes_back_with_its_key_its_class_and_its_members(shop: Shop) -> None:
    """Enums, and values that are stored in another way each time, through the mapping."""
    order = shop.order(id=1, total=1)
    order.tags = {shop.tag(id=1), shop.tag(id=2)}
    shop.add(order, shop.vip(id=7, name="Eve", level=3, colour=Colour.BLUE, secret="s"))
    before = shop.state()
    shop.delete(shop.order, 1)
    shop.delete(shop.vip, 7)

    shop.restore.undelete(shop.order, 1)
    shop.restore.undelete("put.Customer", "7")

    assert shop.state() == before
    with shop.factory() as session:
        found = session.scalars(select(shop.vip)).one()
        assert (found.level, found.colour, found.secret) == (3, Colour.BLUE, "s")
    assert not shop.restore.undelete(shop.order, 1)


def test_an_object_never_deleted_cannot_be_undeleted(shop: Shop) -> None:
    """The error names it."""
    shop.add(shop.tag(id=1))
    with pytest.raises(HistoryError, match="no deletion of PutTag 1"):
        shop.restore.undelete(shop.tag, 1)


# --- what is in the way ---


@pytest.fixture(params=["object by object", "together", "some together"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways in which the log is asked what became of objects."""
    if request.param != "object by object":
        monkeypatch.setattr(later, "_SINGLY", 0)
    if request.param == "some together":
        monkeypatch.setattr(later, "_TOGETHER", 2)


def test_undo_of_a_field_that_changed_since_says_by_whom(shop: Shop) -> None:
    """And does it all the same when told to."""
    shop.add(shop.customer(id=1, name="Eve"))
    change = shop.set(shop.customer, 1, name="Bob")
    shop.set(shop.customer, 1, name="Cid", by="cyd")
    ((kind, field, message),) = shop.refused(undo=change)
    assert (kind, field) == ("changed", "name")
    assert "name was changed again since, by cyd at" in message
    assert "it is 'Cid', not 'Bob'" in message
    assert shop.restore.undo(change, force=True)


def test_undo_of_a_field_changed_past_the_log_says_so(shop: Shop) -> None:
    """The database is asked, not the log."""
    shop.add(shop.customer(id=1, name="Eve"))
    change = shop.set(shop.customer, 1, name="Bob")
    with shop.lifecycle.suppressed(), shop.factory.begin() as session:
        session.get_one(shop.customer, 1).name = "Mal"
    ((kind, _, message),) = shop.refused(undo=change)
    assert kind == "changed"
    assert "by a write that the log does not have" in message


def test_undo_on_an_object_deleted_since(shop: Shop) -> None:
    """It names the deletion."""
    shop.add(shop.customer(id=1, name="Eve"))
    change = shop.set(shop.customer, 1, name="Bob")
    shop.delete(shop.customer, 1)
    ((kind, _, message),) = shop.refused(undo=change)
    assert kind == "gone"
    assert "it is not there any more, by nobody named at" in message


def test_undo_that_would_refer_to_what_is_gone(shop: Shop) -> None:
    """A foreign key, and a member of a collection."""
    order = shop.order(id=1, customer_id=1)
    shop.add(shop.customer(id=1, name="Eve"))
    shop.add(order, shop.tag(id=1))
    shop.set(shop.order, 1, customer_id=1)
    change = shop.set(shop.order, 1, customer_id=None)
    shop.delete(shop.customer, 1)
    ((kind, field, message),) = shop.refused(undo=change)
    assert (kind, field) == ("reference", "customer_id")
    assert "put_customer 1, which is not there" in message


def test_undelete_of_an_object_whose_member_is_gone(shop: Shop) -> None:
    """Its many-to-many row could not come back."""
    order = shop.order(id=1)
    order.tags = {shop.tag(id=1)}
    shop.add(order)
    shop.delete(shop.order, 1)
    shop.delete(shop.tag, 1)
    ((kind, field, _),) = shop.refused(undelete=(shop.order, 1))
    assert (kind, field) == ("reference", "tags")


def test_undo_of_an_insert_that_others_refer_to(shop: Shop) -> None:
    """They would be left behind, or go with it."""
    made = shop.add(shop.order(id=1))
    shop.add(shop.line(order_id=1, number="x"))
    ((kind, _, message),) = shop.refused(undo=made)
    assert kind == "referenced"
    assert "PutLine 1,x refers to it" in message


def test_undo_of_an_insert_that_was_changed_since(shop: Shop) -> None:
    """What came later would be lost."""
    made = shop.add(shop.order(id=1, total=1), shop.tag(id=1))
    shop.set(shop.order, 1, total=2)
    assert [one[:2] for one in shop.refused(undo=made)] == [("changed", "total")]


def test_undo_whose_unique_value_is_taken(shop: Shop) -> None:
    """It names who has it."""
    shop.add(shop.customer(id=1, name="Eve"))
    change = shop.set(shop.customer, 1, name="Bob")
    shop.add(shop.customer(id=2, name="Eve"))
    ((kind, field, message),) = shop.refused(undo=change)
    assert (kind, field) == ("unique", "name")
    assert "name='Eve' is taken by put.Customer 2" in message


def test_undelete_where_the_key_is_taken(shop: Shop) -> None:
    """By another object of the same key."""
    shop.add(shop.customer(id=1, name="Eve"))
    shop.delete(shop.customer, 1)
    shop.add(shop.customer(id=1, name="Bob"))
    ((kind, _, message),) = shop.refused(undelete=(shop.customer, 1))
    assert kind == "exists"
    assert "with another name" in message


@pytest.mark.usefixtures("reading")
def test_nothing_is_put_back_onto_another_object_that_has_the_key(shop: Shop) -> None:
    """Not a version, not an undone change; and an insert is not undone by removing another one."""
    made = shop.add(shop.customer(id=1, name="Eve", nick="a"))
    change = shop.set(shop.customer, 1, nick="n")
    gone = shop.delete(shop.customer, 1)
    shop.add(shop.customer(id=1, name="Bob", nick="n"), by="bob")

    for revision in (made, change):
        ((kind, _, message),) = shop.refused(to=shop.record(revision))
        assert kind == "exists"
        assert "another object has its key, with another name" in message
    ((kind, _, message),) = shop.refused(undo=change)
    assert kind == "gone"
    assert "it is gone, and its key is that of another object, by bob at" in message
    for verb in ({"undo": made}, {"to": shop.record(gone)}):
        preview = shop.restore.preview(**verb)
        assert preview.steps == preview.conflicts == ()
        assert "put.Customer 1 is gone already" in str(preview)

    shop.delete(shop.customer, 1)
    assert shop.restore.to(shop.record(made))


@pytest.mark.usefixtures("reading")
def test_an_object_that_was_brought_back_is_the_same(shop: Shop) -> None:
    """Whatever had its key in between, and by whichever verb; the other one then is gone."""
    made = shop.add(shop.customer(id=1, name="Eve", nick="a"))
    change = shop.set(shop.customer, 1, nick="n")
    gone = shop.delete(shop.customer, 1)
    other = shop.add(shop.customer(id=1, name="Bob", nick="n"))
    shop.delete(shop.customer, 1)
    for verb in ({"undo": gone}, {"to": shop.record(change)}):
        restored = shop.restore.apply(shop.restore.preview(**verb))
        assert restored
        (step,) = shop.restore.preview(undo=change).steps
        assert step.changes == {"nick": Change("n", "a")}
        assert shop.restore.preview(to=shop.record(made)).steps
        assert [one[0] for one in shop.refused(to=shop.record(other))] == ["exists"]
        assert shop.restore.preview(undo=made).conflicts  # it was changed since
        shop.restore.undo(restored)


@pytest.mark.usefixtures("reading")
def test_an_object_is_the_same_under_another_key(shop: Shop) -> None:
    """Unless it left the key to another one."""
    made = shop.add(shop.order(id=1, total=1))
    moved = shop.set(shop.order, 1, id=2)
    changed = shop.set(shop.order, 2, total=2)
    shop.add(shop.order(id=1, total=2))
    assert [one[0] for one in shop.refused(to=shop.record(made))] == ["exists"]
    assert shop.restore.preview(to=shop.record(moved)).steps
    shop.delete(shop.order, 1)
    shop.restore.undo([shop.record(moved), shop.record(changed)])
    assert shop.restore.preview(undo=made).steps


def test_undo_of_an_insert_tells_later_changes_of_what_it_does_not_hold(shop: Shop) -> None:
    """The log knows of them, though not what the value was, and is."""
    made = shop.add(shop.customer(id=1, name="Eve", password="a"))
    assert shop.restore.preview(undo=made).steps
    shop.set(shop.customer, 1, password="b", by="bob")
    ((kind, field, message),) = shop.refused(undo=made)
    assert (kind, field) == ("changed", "password")
    assert "password was changed again since, by bob at" in message


def test_undo_of_a_change_to_a_column_that_was_dropped(shop: Shop) -> None:
    """The rest of the record can be put back without it; its history stays readable."""
    shop.add(shop.tag(id=1), shop.order(id=1, total=1))
    dropped = Change("old", "new")
    revision = Revision(id=uuid7(), at=datetime.now(UTC))
    record = Record(
        revision=revision,
        n=0,
        entity="put.Order",
        key="1",
        operation=Operation.UPDATE,
        changes=ChangeSet({"fax": dropped, "total": Change(0, 1)}),
    )
    revision = shop.lifecycle.store.append(revision, [record])
    ((kind, field, message),) = shop.refused(undo=revision)
    assert (kind, field) == ("dropped", "fax")
    assert "the model has no fax any more" in message
    assert shop.history.field(shop.order, 1, "fax")[0].value == "new"
    assert shop.restore.undo(revision, fields={"total"})


def test_to_a_version_whose_values_were_erased_says_what_stays(shop: Shop) -> None:
    """They cannot be put back, and that is not called as it should be."""
    shop.add(shop.customer(id=1, name="Eve", nick="n"))
    shop.set(shop.customer, 1, nick="m")
    shop.lifecycle.privacy.erase(shop.customer, 1, fields={"nick"})
    first = list(shop.lifecycle.history.of(shop.customer, 1))[-1]

    preview = shop.restore.preview(to=first)

    assert preview.steps == ()
    assert "keeps its nick" in "".join(preview.notes)
    assert "as it should be" not in str(preview)


def test_an_object_does_not_go_for_some_of_its_fields(shop: Shop) -> None:
    """It cannot go in part, so it stays, and that is said."""
    shop.add(shop.customer(id=1, name="Eve"))
    insert = next(shop.history.of(shop.customer, 1))
    preview = shop.restore.preview(undo=insert.revision, fields={"name"})
    assert preview.steps == ()
    assert "put.Customer 1 stays" in str(preview)
    assert shop.restore.preview(undo=insert.revision).steps


def test_undo_of_a_masked_field_is_refused_for_its_value_was_never_kept(shop: Shop) -> None:
    """The others can be put back without it."""
    shop.add(shop.customer(id=1, name="Eve", password="a"))
    change = shop.set(shop.customer, 1, name="Bob", password="b")
    assert [one[:2] for one in shop.refused(undo=change)] == [("unknown", "password")]
    assert shop.restore.undo(change, fields={"name"})


# --- through the mapper ---


def test_a_restore_runs_hooks_and_validators(shop: Shop) -> None:
    """One that refuses keeps everything as it is."""
    shop.add(shop.customer(id=1, name="Eve", nick=None))
    change = shop.set(shop.customer, 1, nick="n")

    @shop.lifecycle.subscribe
    @pre_update(shop.customer)
    def no(event: Any) -> None:
        raise Veto("not today")

    before = shop.state()
    with pytest.raises(Veto, match="not today"):
        shop.restore.undo(change)
    assert shop.state() == before


def test_a_row_changed_between_preview_and_apply_is_left_alone(shop: Shop) -> None:
    """What the preview showed no longer holds."""
    shop.add(shop.customer(id=1, name="Eve"))
    change = shop.set(shop.customer, 1, name="Bob")
    preview = shop.restore.preview(undo=change)
    shop.set(shop.customer, 1, name="Cid")
    with pytest.raises(RestoreConflict, match="no longer as the preview found it: its name"):
        shop.restore.apply(preview)


def test_in_a_session_of_the_callers_it_is_the_callers_to_commit(shop: Shop) -> None:
    """Rolled back, it has never been; and it is refused where it could not be told truthfully."""
    shop.add(shop.customer(id=1, name="Eve"))
    change = shop.set(shop.customer, 1, name="Bob")
    before = shop.state()
    with shop.factory() as session:
        assert shop.restore.undo(change, session=session)
        session.rollback()
    assert shop.state() == before
    with shop.factory() as session:
        session.add(shop.tag(id=9))
        with pytest.raises(InstallError, match="pending changes"):
            shop.restore.undo(change, session=session)
        session.flush()
        with pytest.raises(RestoreConflict, match="has recorded changes already"):
            shop.restore.undo(change, session=session)
    stranger = factory_of(shop.factory.kw["bind"])
    with stranger() as session, pytest.raises(InstallError, match="not installed"):
        shop.restore.undo(change, session=session)


def test_a_preview_reads_and_writes_nothing(shop: Shop) -> None:
    """It tells each change from and to."""
    shop.add(shop.customer(id=1, name="Eve", nick="x"))
    change = shop.set(shop.customer, 1, nick=None)
    before = shop.state()
    preview = shop.restore.preview(undo=change)
    assert [dict(step.changes) for step in preview.steps] == [{"nick": Change(None, "x")}]
    assert preview.steps[0].changes.old("nick") is not ABSENT
    assert shop.state() == before


@pytest.mark.asyncio
async def test_a_restore_works_inside_an_async_session(tmp_path: Path) -> None:
    """By run_sync; an async session itself is refused with the words to use."""
    gc.collect()

    class AsyncBase(DeclarativeBase):
        pass

    class PutAsync(AsyncBase):
        __tablename__ = "put_async"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20))

    url = f"sqlite:///{tmp_path / 'async.db'}"
    engine, plain = (
        create_async_engine(url.replace("sqlite", "sqlite+aiosqlite")),
        create_engine(url),
    )
    AsyncBase.metadata.create_all(plain)
    lifecycle = Lifecycle()
    lifecycle.create_tables(plain)
    factory = async_sessionmaker(engine)
    lifecycle.install(factory)
    async with factory.begin() as session:
        session.add(PutAsync(id=1, name="a"))
    async with factory.begin() as session:
        (await session.get_one(PutAsync, 1)).name = "b"
    change = next(lifecycle.history.find())
    async with factory.begin() as session:
        with pytest.raises(InstallError, match="run_sync"):
            lifecycle.restore.undo(change, session=session)
        await session.run_sync(lambda inner: lifecycle.restore.undo(change, session=inner))
    async with factory() as session:
        assert (await session.get_one(PutAsync, 1)).name == "a"
    with pytest.raises(InstallError, match="no installed sessionmaker"):
        lifecycle.restore.undo(change)
    lifecycle.uninstall(factory)
    await engine.dispose()
    plain.dispose()
    AsyncBase.registry.dispose()
