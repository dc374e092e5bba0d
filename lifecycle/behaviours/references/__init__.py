"""References between objects in different databases, of different mappers.

A reference is an ordinary column or field that holds the other object's identifier, and a
descriptor beside it that reads and writes the object itself::

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        product_id: Mapped[str | None]
        product = ReferenceOne(Product, "product_id", inversed_by="orders", on_delete="restrict")

    class Product(Document):
        name = StringField()
        orders: ReferenceMany["Order"] = ReferenceMany("Order", mapped_by="product")

**Which session.** Documents need none. An object of SQLAlchemy is read in the session that
``session=`` of the declaration gives; else in the owner's own session, if its database has the
table of the target; else in a new session of the first installed session set-up of which that
holds. What ``session=`` gives is the application's to close. What is read in a new session is
detached when it is handed out: its columns are there and its connection is back in the pool, but
its relationships are not loaded, and what is assigned to it is not saved. Give ``session=`` where
that is wanted: a ``scoped_session``, for instance.

**When the other object is deleted** ``on_delete`` says what becomes of those that refer to it.
``"restrict"`` looks for them before anything is written, and refuses with ``StillReferenced``.
``"nullify"`` and ``"cascade"`` look too, to be sure that their database answers, and change it
right after the deletion is committed, through the mapper and its hooks, so that it is recorded. Two
databases do not commit as one, and this order is chosen because a crash between the two leaves
references to what is not there, which ``lifecycle check-references --repair declared`` finds and
repairs; the other order would lose references, or objects, for a deletion that never happened.
What goes wrong after the commit is treated as an error of a ``post_commit`` hook. ``"nothing"``,
the default, leaves them be. Deletions by statements and by bulk writes run no hooks, so all this is
not for them; nor does anybody follow a changed primary key. Where `soft_delete` marks what is
deleted, all this is done as well; what is marked is missing to those who read, but dangling it is
not, so no repair takes away what an ``undelete`` would bring back.

**Constructors.** Models of SQLAlchemy take a reference by name like any attribute. Documents and
models of SQLModel take their fields only: give those the identifier, or assign afterwards. A
``DynamicDocument`` would store what is assigned as a field of its own, so it can have none.
"""

from lifecycle.behaviours.references.declaring import OnDelete, Reference, references_of
from lifecycle.behaviours.references.many import ReferenceMany, ReferenceManyEmbedded, Referring
from lifecycle.behaviours.references.one import ReferenceOne
from lifecycle.behaviours.references.reading import aprefetch, prefetch

__all__ = [
    "OnDelete",
    "Reference",
    "ReferenceMany",
    "ReferenceManyEmbedded",
    "ReferenceOne",
    "Referring",
    "aprefetch",
    "prefetch",
    "references_of",
]
