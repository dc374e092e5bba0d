"""Documents, and rows and documents of one request, put back from the pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from starlette.testclient import TestClient

import audit_ui
from lifecycle import Lifecycle, acting
from tests.ui.conftest import everyone
from tests.ui.test_pages import see
from tests.ui.test_restore import confirm


class Base(DeclarativeBase):
    pass


class CounterRow(Base):
    __tablename__ = "desk_counters"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]


class CounterNote(mongoengine.Document):
    text = fields.StringField()
    tags = fields.ListField(fields.StringField())
    meta = {"collection": "desk_counter_notes"}


@pytest.fixture
def client(mongo: object, tmp_path: Path) -> Iterator[TestClient]:
    """Pages over a row and a document that one request wrote, then changed."""
    engine = create_engine(f"sqlite:///{tmp_path}/both.db")
    Base.metadata.create_all(engine)
    lifecycle = Lifecycle(store=engine)
    lifecycle.create_tables()
    factory = sessionmaker(engine)
    lifecycle.install(factory)
    lifecycle.install(CounterNote)
    with acting("ann", reason="opened"):
        with factory.begin() as session:
            session.add(CounterRow(id=1, amount=5))
        CounterNote(id="65f0c0ffee0c0ffee0c0ffee", text="first", tags=["a", "b"]).save()
    with acting("bob", reason="changed"):
        with factory.begin() as session:
            found = session.get(CounterRow, 1)
            assert found is not None
            found.amount = 7
        CounterNote.objects.get().update(set__text="second", pull__tags="a")
    client = TestClient(audit_ui.create_app(lifecycle, access=everyone), follow_redirects=False)
    client.app.lifecycle = lifecycle  # type: ignore[attr-defined]
    client.app.factory = factory  # type: ignore[attr-defined]
    yield client
    client.close()
    CounterNote.drop_collection()
    lifecycle.uninstall(CounterNote)
    lifecycle.uninstall(factory)
    engine.dispose()


def test_one_request_is_undone_in_both_databases(client: TestClient) -> None:
    """Its revision shows the other one, and undoing it undoes both, as one that is undone again."""
    lifecycle, factory = client.app.lifecycle, client.app.factory  # type: ignore[attr-defined]
    revision = next(lifecycle.history.find(CounterRow)).revision.id
    assert "CounterNote" in see(client, f"/t/{revision}").partition("Written together with it")[2]
    preview = see(client, f"/t/{revision}/undo")
    assert "amount removed 7 added 5" in preview
    assert "text removed second added first" in preview
    done = confirm(client, f"/t/{revision}/undo")
    assert done.status_code == 303
    with factory() as session:
        assert session.get(CounterRow, 1).amount == 5
    note = CounterNote.objects.get()
    assert (note.text, note.tags) == ("first", ["a", "b"])
    path = done.headers["location"].removeprefix("../..")
    assert "Written together with it" in see(client, path)
    assert confirm(client, path.replace("?restored=1", "/undo")).status_code == 303
    assert CounterNote.objects.get().text == "second"


def test_a_deleted_document_is_brought_back(client: TestClient) -> None:
    """With its identity and its lists."""
    entity = client.app.lifecycle.models.entity(CounterNote)  # type: ignore[attr-defined]
    note = CounterNote.objects.get()
    key = client.app.lifecycle.models.key(CounterNote, note.id)  # type: ignore[attr-defined]
    note.delete()
    assert "Bring it back" in see(client, f"/o/{entity}/{key}")
    assert confirm(client, f"/o/{entity}/{key}/restore").status_code == 303
    back = CounterNote.objects.get()
    assert (back.id, back.text, back.tags) == (note.id, "second", ["b"])
