"""Marked rows stay hidden where a query only asks whether there are any."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Integer,
    String,
    Table,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased, mapped_column, relationship

from lifecycle.behaviours import soft_delete, with_deleted
from tests.behaviours.conftest import SqlWorld


def test_any_and_has_hide_what_is_marked(sql: SqlWorld) -> None:
    """In whatever they stand, of aliases, of their own class, within each other, in updates."""
    links = Table(
        "asked_links",
        sql.base.metadata,
        Column("node_id", ForeignKey("asked_nodes.id"), primary_key=True),
        Column("leaf_id", ForeignKey("asked_leaves.id"), primary_key=True),
    )

    @soft_delete
    class AskedNode(sql.base):
        __tablename__ = "asked_nodes"
        id = mapped_column(Integer, primary_key=True)
        kind = mapped_column(String(10))
        parent_id = mapped_column(ForeignKey("asked_nodes.id"))
        deleted_at = mapped_column(DateTime)
        nodes = relationship("AskedNode", back_populates="parent")
        parent = relationship("AskedNode", back_populates="nodes", remote_side=[id])
        leaves = relationship("AskedLeaf", secondary=links)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "node"}

    class AskedBranch(AskedNode):
        __tablename__ = "asked_branches"
        id = mapped_column(ForeignKey(AskedNode.id), primary_key=True)
        __mapper_args__ = {"polymorphic_identity": "branch"}

    @soft_delete
    class AskedLeaf(sql.base):
        __tablename__ = "asked_leaves"
        id = mapped_column(Integer, primary_key=True)
        deleted_at = mapped_column(DateTime)

    class AskedHard(sql.base):
        __tablename__ = "asked_hard"
        id = mapped_column(Integer, primary_key=True)
        node_id = mapped_column(ForeignKey(AskedNode.id))
        branch_id = mapped_column(ForeignKey(AskedBranch.id))
        node = relationship(AskedNode, foreign_keys=node_id)
        branch = relationship(AskedBranch, foreign_keys=branch_id)

    sql.install()
    with sql.transaction() as session:
        top = AskedNode(id=1, leaves=[AskedLeaf(id=1)])
        gone = AskedBranch(id=2, parent=top, leaves=[AskedLeaf(id=2)])
        session.add_all([top, gone, AskedBranch(id=3, parent=top, leaves=[AskedLeaf(id=3)])])
        session.flush()
        session.add_all([AskedHard(id=n, node_id=n, branch_id=n) for n in (2, 3)])
    with sql.transaction() as session:
        session.delete(session.get(AskedNode, 2))
        session.delete(session.get(AskedLeaf, 3))
    other = aliased(AskedNode)
    below = aliased(AskedNode)
    asked = {
        select(AskedHard.id).where(AskedHard.node.has()): [3],
        select(AskedHard.id).where(~AskedHard.node.has()): [2],
        select(AskedHard.id).where(AskedHard.branch.has()): [3],
        select(AskedHard.id).where(or_(AskedHard.id == 2, AskedHard.branch.has())): [2, 3],
        select(AskedHard.id).where(AskedHard.node.of_type(AskedBranch).has()): [3],
        select(AskedNode.id).where(AskedNode.nodes.any(AskedNode.id == 2)): [],
        select(AskedNode.id).where(AskedNode.nodes.any(id=3)): [1],
        select(other.id).where(other.nodes.any()): [1],
        select(AskedNode.id).where(AskedNode.nodes.of_type(below).any(below.id == 2)): [],
        select(AskedNode.id).where(AskedNode.nodes.of_type(below).any(below.id == 3)): [1],
        select(AskedNode.id).where(AskedNode.leaves.any()): [1],
        select(AskedHard.id).where(AskedHard.node.has(AskedNode.leaves.any())): [],
        select(AskedNode.id).where(
            AskedNode.id.in_(select(AskedHard.node_id).where(AskedHard.node.has()))
        ): [3],
    }
    shown = [[2, 3], [], [2, 3], [2, 3], [2, 3], [1], [1], [1], [1], [1], [1, 2, 3], [2, 3], [2, 3]]
    with sql.transaction() as session:
        for (query, found), all_of_them in zip(asked.items(), shown, strict=True):
            query = query.order_by(query.selected_columns[0])
            assert session.scalars(query).all() == found, str(query)
            assert session.scalars(with_deleted(query)).all() == all_of_them, str(query)
        change = update(AskedHard).where(AskedHard.node.has()).values(branch_id=None)
        assert session.execute(change).rowcount == 1
        assert session.query(AskedHard).filter(AskedHard.node.has()).count() == 1
        counted = select(AskedHard).where(AskedHard.node.has()).subquery()
        assert session.scalar(select(func.count()).select_from(counted)) == 1
