"""Real deletes of rows: they take along what is marked below them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, DateTime, ForeignKey, Integer, String, Table, delete, select
from sqlalchemy.orm import attribute_keyed_dict, mapped_column, relationship

from lifecycle import pre_remove
from lifecycle.behaviours import hard, soft_delete, with_deleted
from tests.behaviours.conftest import SqlWorld
from tests.behaviours.test_soft_delete import differences, family


def test_a_real_delete_reaches_what_is_marked_below(sql: SqlWorld) -> None:
    """As far as cascades go, whether the collections are loaded or not; links and keys go too."""
    links = Table(
        "reached_links",
        sql.base.metadata,
        Column("top_id", ForeignKey("reached_tops.id"), primary_key=True),
        Column("tag_id", ForeignKey("reached_tags.id"), primary_key=True),
    )

    class Reached(sql.base):
        __abstract__ = True
        id = mapped_column(Integer, primary_key=True)
        deleted_at = mapped_column(DateTime)

    @soft_delete
    class ReachedTop(Reached):
        __tablename__ = "reached_tops"
        parts = relationship("ReachedPart", cascade="all")
        notes = relationship("ReachedNote")
        tags = relationship("ReachedTag", secondary=links)

    @soft_delete
    class ReachedPart(Reached):
        __tablename__ = "reached_parts"
        top_id = mapped_column(ForeignKey("reached_tops.id"))
        part_id = mapped_column(ForeignKey("reached_parts.id"))
        parts = relationship("ReachedPart", cascade="all")
        seal = relationship("ReachedSeal", cascade="all", uselist=False)

    @soft_delete
    class ReachedSeal(Reached):
        __tablename__ = "reached_seals"
        part_id = mapped_column(ForeignKey("reached_parts.id"))

    @soft_delete
    class ReachedNote(Reached):
        __tablename__ = "reached_notes"
        top_id = mapped_column(ForeignKey("reached_tops.id"))

    @soft_delete
    class ReachedTag(Reached):
        __tablename__ = "reached_tags"

    sql.install()
    for loaded in (True, False):
        with sql.transaction() as session:
            lower = [ReachedPart(id=3, seal=ReachedSeal(id=1)), ReachedPart(id=4)]
            parts = [ReachedPart(id=1), ReachedPart(id=2, parts=lower)]
            tags = [ReachedTag(id=1), ReachedTag(id=2)]
            notes = [ReachedNote(id=1), ReachedNote(id=2)]
            session.add(ReachedTop(id=1, parts=parts, tags=tags, notes=notes))
        with sql.transaction() as session:
            for cls in (ReachedPart, ReachedSeal, ReachedNote, ReachedTag):
                session.delete(session.get(cls, 1))
            session.delete(session.get(ReachedPart, 3))
        with sql.transaction() as session:
            top = session.get(ReachedTop, 1)
            if loaded:
                assert [len(some) for some in (top.parts, top.notes, top.tags)] == [1, 1, 1]
            session.delete(hard(top))
        with sql.transaction() as session:
            for cls in (ReachedTop, ReachedPart, ReachedSeal):
                assert session.scalars(with_deleted(select(cls))).all() == []
            assert session.execute(select(links)).all() == []
            notes = session.scalars(with_deleted(select(ReachedNote))).all()
            assert [one.top_id for one in notes] == [None, None]
            session.execute(hard(with_deleted(delete(ReachedNote))))
            session.execute(hard(with_deleted(delete(ReachedTag))))
        assert differences(sql) == []


@pytest.mark.parametrize("suppressed", [True, False])
def test_a_real_delete_asked_for_by_a_hook_reaches_it_too(
    sqlite: SqlWorld, suppressed: bool
) -> None:
    """And so does any delete while hooks are off, for it is a real one."""
    parent, child, _ = family(sqlite)
    with sqlite.transaction() as session:
        session.add(parent(id=1, children=[child(id=1), child(id=2)]))
        session.add(parent(id=2))
    with sqlite.transaction() as session:
        session.delete(session.get(child, 1))

    def too(event: Any) -> None:
        if event.instance.id == 2:
            event.session.delete(hard(event.session.get(parent, 1)))

    sqlite.lifecycle.subscribe(pre_remove(parent)(too))
    if suppressed:
        with sqlite.lifecycle.suppressed(audit=False), sqlite.transaction() as session:
            session.delete(session.get(parent, 1))
    else:
        with sqlite.transaction() as session:
            session.delete(session.get(parent, 2))
    with sqlite.transaction() as session:
        assert session.scalars(with_deleted(select(child))).all() == []
    assert differences(sqlite) == []


def test_what_is_kept_by_name_and_what_is_below_a_hard_one_are_reached(sql: SqlWorld) -> None:
    """Two of one name, of which one is marked; and a parent that is no soft one, asked for."""

    class ReachedShelf(sql.base):
        __tablename__ = "reached_shelves"
        id = mapped_column(Integer, primary_key=True)
        books = relationship(
            "ReachedBook", cascade="all", collection_class=attribute_keyed_dict("name")
        )

    @soft_delete
    class ReachedBook(sql.base):
        __tablename__ = "reached_books"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String(10))
        shelf_id = mapped_column(ForeignKey(ReachedShelf.id))
        deleted_at = mapped_column(DateTime)

    sql.install()
    with sql.transaction() as session:
        session.add(ReachedShelf(id=1, books={"a": ReachedBook(id=1, name="a")}))
    with sql.transaction() as session:
        session.delete(session.get(ReachedBook, 1))
        session.flush()
        shelf = session.get(ReachedShelf, 1)
        shelf.books["a"] = ReachedBook(id=2, name="a")
    with sql.transaction() as session:
        session.delete(hard(session.get(ReachedShelf, 1)))
    with sql.transaction() as session:
        assert session.scalars(with_deleted(select(ReachedBook))).all() == []
    assert differences(sql) == []
