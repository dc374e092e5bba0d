"""What points to an object, by the foreign keys and references of the models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy import ForeignKey, ForeignKeyConstraint, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from starlette.testclient import TestClient

import audit_ui
from lifecycle import Lifecycle, ReferenceOne, audited
from lifecycle.audit.stores.memory import MemoryStore
from tests.ui.conftest import Log, everyone, insert
from tests.ui.test_pages import see


class Base(DeclarativeBase):
    pass


@audited(entity="kin.Parcel")
class KinParcel(Base):
    __tablename__ = "kin_parcels"
    id: Mapped[int] = mapped_column(primary_key=True)
    next_id: Mapped[int | None] = mapped_column(ForeignKey("kin_parcels.id"))


@audited(entity="kin.Item")
class KinItem(Base):
    __tablename__ = "kin_items"
    parcel_id: Mapped[int] = mapped_column(ForeignKey("kin_parcels.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    qty: Mapped[int] = mapped_column(default=1)


@audited(entity="kin.Scan")
class KinScan(Base):
    __tablename__ = "kin_scans"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_parcel: Mapped[int]
    item_place: Mapped[int]
    __table_args__ = (
        ForeignKeyConstraint(
            ["item_parcel", "item_place"], ["kin_items.parcel_id", "kin_items.place"]
        ),
    )


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """Two parcels with items; one item was changed, one went; and scans of an item."""
    engine = create_engine(f"sqlite:///{tmp_path}/kin.db")
    Base.metadata.create_all(engine)
    lifecycle = Lifecycle()
    factory = sessionmaker(engine)
    lifecycle.install(factory)
    lifecycle.create_tables(engine)
    with factory.begin() as session:
        session.add_all([KinParcel(id=1), KinParcel(id=2, next_id=1)])
    with factory.begin() as session:
        session.add_all([KinItem(parcel_id=1, place=1), KinItem(parcel_id=2, place=1, qty=7777)])
        session.flush()
        session.add(KinScan(id=5, item_parcel=1, item_place=1))
    with factory.begin() as session:
        session.get_one(KinItem, (1, 1)).qty = 4242
    with factory.begin() as session:
        session.delete(session.get_one(KinItem, (2, 1)))
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        yield client
    lifecycle.uninstall(factory)
    engine.dispose()


def test_changes_of_children_are_found_by_their_foreign_keys(client: TestClient) -> None:
    """Those that do not touch the key too; those of other parents are not there."""
    assert 'href="../../o/kin.Parcel/1/related"' in client.get("/o/kin.Parcel/1").text
    text = see(client, "/o/kin.Parcel/1/related")
    assert "qty removed 1 → added 4242" in text
    assert "next_id" in text
    assert "7777" not in text
    other = see(client, "/o/kin.Parcel/2/related")
    assert "deleted kin.Item" in other
    assert "4242" not in other


def test_one_entity_can_be_looked_at_by_itself(client: TestClient) -> None:
    """Where several point here."""
    text = see(client, "/o/kin.Parcel/1/related?of=kin.Item")
    assert "qty" in text
    assert "next_id" not in text
    assert "leads to this entity" in see(client, "/o/kin.Scan/5/related")


def test_keys_of_several_parts_are_followed(client: TestClient) -> None:
    """All parts have to be the same."""
    page = client.get("/feed.json?entity=kin.Item&operation=update").json()
    key = page["records"][0]["key"]
    found = client.get(f"/o/kin.Item/{key}/related.json").json()
    assert found["pointing"] == {"kin.Scan": [["item_parcel", "item_place"]]}
    assert [one["key"] for one in found["records"]] == ["5"]


def test_a_store_alone_does_not_know_what_points_where(log: Log) -> None:
    """Nothing leads there, and the address says why."""
    log.write(insert("shop.Order", "1", total=5))
    with TestClient(audit_ui.create_app(log.store, access=everyone)) as client:
        assert "/related" not in client.get("/o/shop.Order/1").text
        assert "know the store only" in see(client, "/o/shop.Order/1/related", 404)


def test_references_of_documents_are_followed(mongo: object) -> None:
    """Single ones and those in lists."""

    class KinAuthor(mongoengine.Document):
        name = fields.StringField()
        meta = {"collection": "kin_authors"}

    class KinBook(mongoengine.Document):
        title = fields.StringField()
        author = fields.ReferenceField(KinAuthor)
        others = fields.ListField(fields.LazyReferenceField(KinAuthor))
        meta = {"collection": "kin_books"}

    lifecycle = Lifecycle(store=MemoryStore())
    lifecycle.install(KinAuthor)
    lifecycle.install(KinBook)
    ann, bob = KinAuthor(name="Ann").save(), KinAuthor(name="Bob").save()
    first = KinBook(title="One", author=ann).save()
    KinBook(title="Two", author=bob).save()
    first.title = "First"
    first.others = [bob]
    first.save()
    entity = lifecycle.models.entity(KinAuthor)
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        of_ann = see(client, f"/o/{entity}/{lifecycle.models.key(KinAuthor, ann.id)}/related")
        of_bob = see(client, f"/o/{entity}/{lifecycle.models.key(KinAuthor, bob.id)}/related")
    assert "title removed One → added First" in of_ann
    assert "Two" not in of_ann
    assert "Two" in of_bob
    assert "First" in of_bob
    lifecycle.uninstall(KinBook)
    lifecycle.uninstall(KinAuthor)


def test_references_between_databases_are_followed(mongo: object, tmp_path: Path) -> None:
    """A document that names a row, by a reference that a mixin declares."""

    class KinBase(DeclarativeBase):
        pass

    @audited(entity="kin.Shelf")
    class KinShelf(KinBase):
        __tablename__ = "kin_shelves"
        id: Mapped[int] = mapped_column(primary_key=True)

    class KinShelved:
        shelf = ReferenceOne(KinShelf, by="shelf_id")

    class KinTome(KinShelved, mongoengine.Document):
        title = fields.StringField()
        shelf_id = fields.IntField()
        meta = {"collection": "kin_tomes"}

    engine = create_engine(f"sqlite:///{tmp_path}/kin.db")
    KinBase.metadata.create_all(engine)
    lifecycle = Lifecycle(store=engine)
    lifecycle.create_tables()
    lifecycle.install(KinTome)
    assert [(one.source, one.fields) for one in lifecycle.models.pointers("kin.Shelf")] == [
        (lifecycle.models.entity(KinTome), ("shelf_id",))
    ]
    [pointer] = lifecycle.models.pointers(source=lifecycle.models.entity(KinTome))
    assert (pointer.target, pointer.fields) == ("kin.Shelf", ("shelf_id",))
    assert lifecycle.models.pointers(source="kin.Shelf") == []
    tome = KinTome(title="One", shelf_id=7).save()
    KinTome(title="Two", shelf_id=8).save()
    tome.title = "First"
    tome.save()
    with TestClient(audit_ui.create_app(lifecycle, access=everyone)) as client:
        text = see(client, "/o/kin.Shelf/7/related")
    assert "title removed One → added First" in text
    assert "Two" not in text
    lifecycle.uninstall(KinTome)
    engine.dispose()
