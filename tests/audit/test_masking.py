"""Keys inside JSON and embedded documents that are masked: recorded nowhere, restored by nobody."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import mongoengine
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.database import Database
from sqlalchemy import JSON, Engine, Text, insert, select, text, update
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from lifecycle import MASKED, Lifecycle, audited
from lifecycle.audit.format import dump
from lifecycle.audit.masking import recordable
from lifecycle.audit.stores.sql import audit_tables
from lifecycle.changes import ABSENT, Change, ChangeSet, Operation
from lifecycle.errors import ConfigurationError, RestoreConflict
from lifecycle.hiding import Inside
from lifecycle.policy import Masking, Policy, check_fields, policy_of
from lifecycle.written import Written
from tests.strategies import laws

SECRET = "s3cr3t"


class MaskedBase(DeclarativeBase):
    pass


@audited(mask={"settings.token", "settings.lines.pin", "settings.by.*.pin", "raw.token"})
class MaskedInside(MaskedBase):
    __tablename__ = "masked_inside"
    id: Mapped[int] = mapped_column(primary_key=True)
    settings: Mapped[Any] = mapped_column(MutableDict.as_mutable(JSON), nullable=True)
    raw: Mapped[str | None] = mapped_column(Text)


World = tuple[Lifecycle, Any, Engine]


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    MaskedBase.metadata.create_all(engine)
    Session = sessionmaker(engine)
    lifecycle = Lifecycle(mask_names={"*password*"})
    lifecycle.install(Session)
    lifecycle.create_tables(engine)
    yield lifecycle, Session, engine
    lifecycle.uninstall(Session)


def settings(**others: Any) -> dict[str, Any]:
    return {
        "token": SECRET,
        "a": 1,
        "lines": [{"pin": SECRET, "n": 1}, {"pin": SECRET, "n": 2}],
        "by": {"ann": {"pin": SECRET}},
        "deep": [{"DbPassword": SECRET}],
        **others,
    }


def stored(engine: Engine) -> str:
    """Everything there is in the tables of the log."""
    with engine.connect() as connection:
        return str(
            [
                connection.execute(select(table)).all()
                for table in audit_tables().metadata.tables.values()
            ]
        )


def test_no_write_path_stores_what_is_masked_inside(world: World) -> None:
    """Flush, in-place edits, statements, bulk inserts and deletes; what is beside it is there."""
    lifecycle, Session, engine = world
    with Session.begin() as session:
        session.add(MaskedInside(id=1, settings=settings(), raw=f'{{"token": "{SECRET}"}}'))
        session.execute(insert(MaskedInside), [{"id": 2, "settings": settings()}])
    with Session.begin() as session:
        one = session.get(MaskedInside, 1)
        one.settings["token"] = SECRET + "2"
        one.settings["a"] = 2
    with Session.begin() as session:
        one = session.get(MaskedInside, 1)
        one.settings["token"] = SECRET + "3"
    with Session.begin() as session:
        session.execute(update(MaskedInside).values(settings=settings(a=3)))
        session.execute(
            update(MaskedInside).values(settings=settings(a=4)),
            execution_options={"lifecycle_bulk": "statement"},
        )
    with Session.begin() as session:
        session.delete(session.get(MaskedInside, 2))

    assert SECRET not in stored(engine)
    changes = [record.changes for record in lifecycle.history.of(MaskedInside, 1)]
    assert changes[-1]["settings"].new == {
        "token": MASKED,
        "a": 1,
        "lines": [{"pin": MASKED, "n": 1}, {"pin": MASKED, "n": 2}],
        "by": {"ann": {"pin": MASKED}},
        "deep": [{"DbPassword": MASKED}],
    }
    assert changes[-1]["raw"].new is MASKED
    assert dict(changes[-2]) == {
        "settings.a": Change(1, 2),
        "settings.token": Change(MASKED, MASKED),
    }
    assert dict(changes[-3]) == {"settings.token": Change(MASKED, MASKED)}


def test_the_log_agrees_with_the_database(world: World) -> None:
    """What is hidden is not compared; what is beside it is."""
    lifecycle, Session, engine = world
    with Session.begin() as session:
        session.add(MaskedInside(id=1, settings=settings()))
    assert lifecycle.evidence.compare().agrees
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE masked_inside SET settings = :it"),
            {"it": '{"token": "other", "a": 9, "lines": []}'},
        )
    [difference] = lifecycle.evidence.compare().differences
    assert difference.fields == ("settings",)


def test_undoing_a_change_leaves_what_is_hidden_as_it_is(world: World) -> None:
    """The present token stays; where it cannot, that is said before anything is written."""
    lifecycle, Session, _ = world
    with Session.begin() as session:
        session.add(MaskedInside(id=1, settings=settings()))
    with Session.begin() as session:
        one = session.get(MaskedInside, 1)
        one.settings["a"] = 2
    with Session.begin() as session:
        one = session.get(MaskedInside, 1)
        one.settings["token"] = "newer"
    [third, second, first] = lifecycle.history.of(MaskedInside, 1)

    lifecycle.restore.undo(second)
    with Session() as session:
        found = session.get(MaskedInside, 1).settings
    assert (found["a"], found["token"], found["lines"]) == (1, "newer", settings()["lines"])

    with pytest.raises(RestoreConflict, match="does not hold"):
        lifecycle.restore.undo(third)
    assert not lifecycle.restore.preview(to=first).steps
    with Session.begin() as session:
        session.get(MaskedInside, 1).settings = {"lines": settings()["lines"][::-1]}
    preview = lifecycle.restore.preview(to=first)
    assert "the log does not hold what settings.token" in str(preview.conflicts[0])
    assert SECRET not in repr(preview)


def test_a_deleted_object_comes_back_without_what_is_hidden(world: World) -> None:
    """And that is said."""
    lifecycle, Session, _ = world
    with Session.begin() as session:
        session.add(MaskedInside(id=1, settings=settings(deep=None)))
    with Session.begin() as session:
        session.delete(session.get(MaskedInside, 1))
    restored = lifecycle.restore.undelete(MaskedInside, 1)
    with Session() as session:
        assert session.get(MaskedInside, 1).settings == {
            "a": 1,
            "lines": [{"n": 1}, {"n": 2}],
            "by": {"ann": {}},
            "deep": None,
        }
    assert sorted(note.split()[5].rstrip(",") for note in restored.preview.notes) == [
        "settings.by.ann.pin",
        "settings.lines.0.pin",
        "settings.lines.1.pin",
        "settings.token",
    ]


def test_a_path_into_a_field_the_model_lacks_is_refused() -> None:
    """Like the field itself; and a label cannot be of a field that has something hidden."""

    @audited(mask={"settngs.token"}, label="a")
    class Plain:
        a = 1

    with pytest.raises(ConfigurationError, match="names settngs, which it does not have"):
        check_fields(Plain, policy_of(Plain), {"settings", "a"})
    with pytest.raises(ConfigurationError, match="choose another label"):
        check_fields(Plain, replace(policy_of(Plain), label="settngs"), {"settngs", "a"})


class MaskedPart(mongoengine.EmbeddedDocument):
    token = mongoengine.StringField(db_field="t")
    size = mongoengine.IntField()


@audited(mask={"part.token", "parts.token"})
class MaskedDocument(mongoengine.DynamicDocument):
    part = mongoengine.EmbeddedDocumentField(MaskedPart, db_field="p")
    parts = mongoengine.ListField(mongoengine.EmbeddedDocumentField(MaskedPart))
    free = mongoengine.DictField()


def test_documents_hide_what_is_masked_inside(
    mongo: Database[Any], sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embedded documents by attribute names, maps by key; in the records and in the intents."""
    lifecycle = Lifecycle(store=sqlite_engine, mask_names={"*password*"})
    lifecycle.create_tables(sqlite_engine)
    lifecycle.install(MaskedDocument)
    try:
        made = MaskedDocument(
            part=MaskedPart(token=SECRET, size=1),
            parts=[MaskedPart(token=SECRET, size=1)],
            free={"x": {"password": SECRET}, "y": 1},
            other={"PASSWORD": SECRET},
        )
        monkeypatch.setattr(lifecycle.store, "_withdraw", lambda *settled: None)
        made.save()
        made.part.token = SECRET + "2"
        made.part.size = 2
        made.free["y"] = 2
        made.save()
        MaskedDocument.objects.update(set__part__token=SECRET + "3", set__free__password=SECRET)
        made.reload()

        traces = [trace for one in lifecycle.store.intents() for trace in one.traces]
        assert len(traces) == 3
        assert SECRET.encode() not in b"".join(b64decode(json.loads(one)["bson"]) for one in traces)
        assert SECRET not in stored(sqlite_engine)
        [third, second, first] = lifecycle.history.of(made)
        assert first.changes["part"].new == {"token": MASKED, "size": 1}
        assert first.changes["free"].new == {"x": {"password": MASKED}, "y": 1}
        assert first.changes["other"].new == {"PASSWORD": MASKED}
        assert second.changes["part.size"] == Change(1, 2)
        assert second.changes["part.token"] == Change(MASKED, MASKED)
        assert third.changes["part.token"] == Change(MASKED, MASKED)
        assert lifecycle.evidence.compare(sqlite_engine).agrees

        lifecycle.restore.undo(second, fields={"free"})
        made.reload()
        assert made.free == {"x": {"password": SECRET}, "y": 1, "password": SECRET}
        assert made.part.token == SECRET + "3"
    finally:
        lifecycle.uninstall(MaskedDocument)


# --- laws -----------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "token", "Password", "x.y"])
values = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["plain", SECRET]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
POLICY = Policy(
    inside=frozenset({("f", "token"), ("f", "a", "*", "b"), ("f", "b", "a")}), names=("*password*",)
)


def visible(value: Any, hidden: Any) -> None:
    """Every secret of a value is behind a mask, and everything else is as it was."""
    if hidden is MASKED:
        return
    if isinstance(value, dict):
        assert value.keys() == hidden.keys()
        for key in value:
            visible(value[key], hidden[key])
    elif isinstance(value, list):
        assert len(value) == len(hidden)
        for one, other in zip(value, hidden, strict=True):
            visible(one, other)
    else:
        assert value == hidden


@laws
@given(old=values, new=values)
def test_records_lead_from_one_hidden_value_to_the_next(old: Any, new: Any) -> None:
    """What is recorded of a change is the change of what may be seen of it, and no more."""
    change = ChangeSet({"f": Change(old, new)}, Operation.UPDATE)
    before, after = POLICY.hidden("f", old), POLICY.hidden("f", new)
    visible(old, before)
    visible(new, after)

    changes = recordable(Written("E", "1", change, POLICY))

    assert changes is not None
    assert changes.applied_to({"f": before}) == {"f": after}
    assert not changes.conflicts_with({"f": before})
    assert (SECRET in dump(changes)) <= (SECRET in str((before, after)))


@laws
@given(value=values)
def test_what_is_hidden_is_hidden_by_itself_too(value: Any) -> None:
    """A key is hidden wherever a path or a name leads to it, lists in between or not."""
    inside = Inside((("token",),), ("*password*",))

    def check(found: Any, at: int = 0) -> None:
        if isinstance(found, dict):
            for key, item in found.items():
                named = key == "Password" or (key == "token" and at == 0)
                assert (item is MASKED) is named
                check(item, at + 1)
        elif isinstance(found, list):
            for item in found:
                check(item, at)

    check(inside.hide(value))
    assert inside.hide(inside.hide(value)) == inside.hide(value)


def test_inserts_and_deletes_hide_in_one_state() -> None:
    """Also where the changeset is made from a whole state."""
    state = {"f": {"token": SECRET}, "g": [{"password": SECRET}]}
    for operation in (Operation.INSERT, Operation.DELETE):
        one = Written("E", "1", ChangeSet.of_state(state, operation), POLICY)
        changes = recordable(one)
        assert changes is not None
        assert SECRET not in dump(changes)
    policy = Masking(names=("*password*",)).extended(Policy(), [])
    one = Written("E", "1", ChangeSet({"g": Change(ABSENT, state["g"])}), policy)
    assert SECRET not in dump(recordable(one) or ChangeSet())
