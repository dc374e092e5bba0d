"""A random workload, replayed from its records, gives the documents that are in the database."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from pymongo import DeleteOne, InsertOne, MongoClient, UpdateMany, UpdateOne
from pymongo.database import Database

from lifecycle import Operation
from lifecycle.changes import same
from lifecycle.mappers.mongoengine.fields import logged
from tests.servers import MongoServer


class Leaf(mongoengine.EmbeddedDocument):
    text = fields.StringField(db_field="t")
    number = fields.IntField()


class Node(mongoengine.Document):
    name = fields.StringField(db_field="n")
    number = fields.IntField(default=7)
    amount = fields.DecimalField(db_field="am")
    at = fields.DateTimeField()
    tags = fields.ListField(fields.StringField(), db_field="tg")
    table = fields.DictField()
    leaf = fields.EmbeddedDocumentField(Leaf, db_field="lf")
    leaves = fields.EmbeddedDocumentListField(Leaf, db_field="lvs")
    other = fields.LazyReferenceField("self")
    meta = {"allow_inheritance": True}


class SpecialNode(Node):
    special = fields.ListField(fields.DictField(), db_field="sp")


class Workload:
    """Random writes to a few documents, of each of which one copy is in memory.

    After a write that passes it by, it is loaded again: of a stale one a save could only tell
    what was loaded.
    """

    def __init__(self, seed: int, client: MongoClient[Any], real: bool) -> None:
        self.random = random.Random(seed)
        self.client = client
        self.documents: list[Any] = []
        self.done: Counter[str] = Counter()
        self.edits: list[Callable[[Any], None]] = [
            self.set_scalar,
            self.set_and_back,
            self.edit_list,
            self.edit_table,
            self.edit_leaf,
            self.replace_leaves,
            self.refer,
        ]
        # of whole fields: what lies inside of one that is not known any more cannot be replayed
        self.whole = [self.set_scalar, self.edit_list, self.replace_leaves, self.refer]
        # nx-27017 loses the $unset of a path beside the $set of an id
        self.nothing: list[None] = [None] if real else []
        self.bulk: list[Callable[[], Any]] = [
            self.insert,
            self.update_many,
            self.update_many,
            self.update_one,
            self.upsert,
            self.modify,
            self.modify_and_load,
            self.remove,
            self.delete_many,
            self.update_document,
            self.modify_document,
            self.raw_update,
            self.raw_replace,
            self.raw_several,
            self.raw_delete,
        ]
        if real:  # nx-27017 loses an update of one element, and makes text of an updated datetime
            self.edits += [self.edit_element, self.set_time]

    def step(self) -> None:
        choices = [self.change] * 8 + [self.reload, self.load_part, self.replace, self.delete]
        past = self.random.random() < 0.4
        step = self.random.choice(self.bulk if past else choices)
        if len(self.documents) <= 3:
            step = self.random.choice([self.create, self.insert])
        step()
        self.done[step.__name__] += 1
        if step in self.bulk:
            self.documents = list(Node.objects)

    def steps(self) -> None:
        for _ in range(3):
            self.step()

    def transaction(self) -> None:
        """After one that is rolled back, the documents as memory has kept them are saved on."""
        before, end = [*self.documents], self.random.choice(["commit", "abort"])
        with self.client.start_session() as session, session.bind(end_session=False):
            session.start_transaction()
            self.steps()
            getattr(session, f"{end}_transaction")()
        self.done[end] += 1
        if end == "abort":
            for document in before:
                self.edit(document, self.whole)
            self.documents = list(Node.objects)

    # --- steps ---

    def create(self) -> None:
        cls = self.random.choice([Node, SpecialNode])
        document = cls(name=self.text(), tags=[self.text()], table={"k": {"a": 1}})
        document.leaves = [Leaf(text=self.text()) for _ in range(2)]
        document.at = datetime(2020, 1, 1) + timedelta(microseconds=self.number())
        self.documents.append(document.save())

    def change(self) -> None:
        self.edit(self.random.choice(self.documents), self.edits)

    def edit(self, document: Any, edits: list[Callable[[Any], None]]) -> None:
        for edit in self.random.sample(edits, self.random.randrange(3)):
            edit(document)
            self.done[edit.__name__] += 1
        document.save()

    def reload(self) -> None:
        fields = self.random.choice([(), ("number", "leaf"), ("tags",)])
        self.random.choice(self.documents).reload(*fields)

    def load_part(self) -> None:
        # Always with the table: that a path lies in a table nobody has seen is recorded too, but
        # whether there is a table to replay it on is not known.
        index = self.random.randrange(len(self.documents))
        names = self.random.sample(["name", "number", "tags", "leaf"], 2)
        part = self.random.choice(
            [Node.objects.only(*names, "table"), Node.objects.exclude(*names)]
        )
        self.documents[index] = part.get(pk=self.documents[index].pk)

    def replace(self) -> None:
        index = self.random.randrange(len(self.documents))
        old = self.documents[index]
        self.documents[index] = type(old)(id=old.id, name=self.text(), amount=self.number()).save()

    def delete(self) -> None:
        self.documents.pop(self.random.randrange(len(self.documents))).delete()

    # --- writes past save and delete ---

    def insert(self) -> None:
        made = [
            self.random.choice([Node, SpecialNode])(name=self.text(), number=self.number())
            for _ in range(self.random.randrange(1, 4))
        ]
        self.documents += Node.objects.insert(made, load_bulk=self.random.random() < 0.5) and made

    def update_many(self) -> None:
        self.some().update(**self.update())

    def update_one(self) -> None:
        self.some().update_one(**self.update())

    def upsert(self) -> None:
        Node.objects(name=self.text()).update_one(
            set__number=self.number(), set__tags=[self.text()], upsert=True
        )

    def modify(self) -> None:
        self.some().order_by("number").modify(**self.update())

    def modify_and_load(self) -> None:
        self.some().order_by("-number").modify(new=True, **self.update())

    def remove(self) -> None:
        Node.objects(pk=self.random.choice(self.documents).pk).modify(remove=True)

    def delete_many(self) -> None:
        limit = self.random.randrange(30)
        Node.objects(number__lt=limit).delete()

    def update_document(self) -> None:
        self.random.choice(self.documents).update(**self.update())

    def modify_document(self) -> None:
        self.random.choice(self.documents).modify(**self.update())

    def raw_update(self) -> None:
        update = {"$set": {"n": self.text(), "tg": [self.text()]}, "$unset": {"am": 1}}
        Node._get_collection().update_many({"number": {"$gt": self.number()}}, update)

    def raw_replace(self) -> None:
        document = self.random.choice(self.documents)
        Node._get_collection().replace_one(
            {"_id": document.pk}, {"_cls": document._cls, "n": self.text(), "tg": [self.text()]}
        )

    def raw_several(self) -> None:
        one, other = self.random.choices(self.documents, k=2)
        number = self.number()
        Node._get_collection().bulk_write(
            [
                UpdateOne({"_id": one.pk}, {"$set": {"number": number}}),
                UpdateMany({"number": number}, {"$set": {"n": self.text()}}),
                InsertOne({"_cls": "Node", "n": self.text(), "number": number}),
                DeleteOne({"_id": other.pk}),
            ]
        )

    def raw_delete(self) -> None:
        Node._get_collection().delete_one({"number": {"$lt": self.number()}})

    def some(self) -> Any:
        return Node.objects(number__gte=self.number())

    def update(self) -> dict[str, Any]:
        return self.random.choice(
            [
                {"set__name": self.text(), "unset__amount": 1},
                {"inc__number": self.number()},
                {"push__tags": self.text()},
                {"set__tags": [self.text(), self.text()]},
                {"unset__leaf": 1, "set__number": self.number()},
                {"set__table__k": {"a": [self.number()]}},
                {"set__leaf": Leaf(text=self.text())},
            ]
        )

    # --- edits ---

    def set_scalar(self, document: Any) -> None:
        document.name = self.random.choice([None, self.text()])
        document.number = self.random.choice([None, self.number(), 2**40])
        document.amount = self.random.choice([None, self.number()])

    def set_and_back(self, document: Any) -> None:
        before = document.number
        document.number = 12345
        document.number = before

    def edit_list(self, document: Any) -> None:
        if document.tags and self.random.random() < 0.5:
            document.tags.pop(self.random.randrange(len(document.tags)))
        document.tags.insert(self.random.randrange(len(document.tags) + 1), self.text())
        if isinstance(document, SpecialNode):
            document.special = [{"a": self.number()}, {"b": {"c": self.text()}}]

    def edit_table(self, document: Any) -> None:
        document.table[self.random.choice("xyz")] = {"deep": self.number()}
        if self.random.random() < 0.3:
            document.table.pop(self.random.choice("xyz"), None)
        elif "x" in document.table:
            document.table["x"]["deep"] = [self.number(), {"a": self.text()}]

    def edit_leaf(self, document: Any) -> None:
        if document.leaf is None or self.random.random() < 0.2:
            document.leaf = self.random.choice([None, Leaf(number=self.number())])
        else:
            document.leaf.text = self.random.choice([*self.nothing, self.text()])

    def replace_leaves(self, document: Any) -> None:
        document.leaves = [Leaf(text=self.text(), number=n) for n in range(self.number() % 4)]

    def edit_element(self, document: Any) -> None:
        for leaf in document.leaves[:2]:
            leaf.number = self.number()
        if document.tags:
            document.tags[0] = self.text()

    def set_time(self, document: Any) -> None:
        document.at = datetime(2020, 1, 1) + timedelta(microseconds=self.number())

    def refer(self, document: Any) -> None:
        document.other = self.random.choice([None, *self.documents])

    def text(self) -> str:
        return self.random.choice(["", "a", "ä", "b" * 30]) + str(self.number())

    def number(self) -> int:
        return self.random.randrange(1000)


def by_attribute(stored: dict[str, Any]) -> dict[str, Any]:
    """A document as it is in the database, by attribute names."""
    cls = SpecialNode if stored.get("_cls") == "Node.SpecialNode" else Node
    return {
        name: logged(cls._fields.get(name), value)
        for db_name, value in stored.items()
        for name in [cls._reverse_db_field_map.get(db_name, db_name)]
    }


@pytest.mark.parametrize("seed", range(6))
def test_replaying_the_records_gives_the_documents(
    mongo: Database[Any], mongo_server: MongoServer, records: Any, seed: int
) -> None:
    """Every document, and every old value on the way, is what the records say."""
    for cls in (Node, SpecialNode):
        cls.objects.count()  # makes its indexes, and what nx-27017 makes ends its transaction
    workload = Workload(seed, mongo.client, mongo_server.real)
    for _ in range(50):
        workload.random.choice([workload.steps, workload.steps, workload.transaction])()
    states: dict[str, dict[str, Any]] = {}
    for record in records():
        state = states.pop(record.key, {})
        assert (state == {}) is (record.operation is Operation.INSERT)
        assert record.changes.conflicts_with(state) == {}, record.changes
        state = record.changes.applied_to(state)
        if record.operation is Operation.DELETE:
            assert state == {}
        else:
            states[record.key] = state
    stored = {str(document["_id"]): by_attribute(document) for document in mongo["node"].find()}
    assert same(states, stored)
    assert len(stored) == len(workload.documents)
    assert len(workload.done) >= 26, workload.done
