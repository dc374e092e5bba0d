"""Models with every feature of SQLAlchemy's mapping whose writes have to reach the log."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    JSON,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKey,
    LargeBinary,
    Numeric,
    PickleType,
    String,
    Table,
    Text,
    TypeDecorator,
    func,
    text,
)
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    MappedAsDataclass,
    WriteOnlyMapped,
    column_property,
    composite,
    foreign,
    mapped_column,
    relationship,
    remote,
    synonym,
)
from sqlalchemy_utils import ChoiceType, EmailType, IPAddressType, ScalarListType

from lifecycle import audited, not_audited


class Base(DeclarativeBase):
    """The base of the workload's models, which do not share their names with those of tests."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if Base in cls.__bases__:
            audited(entity=f"workload.{cls.__name__}")(cls)


_ticks: Iterator[int] = count(1)


def tick() -> int:
    """The next number, for columns that Python fills in."""
    return next(_ticks)


def restart_ticks() -> None:
    """Count from the beginning, so that a program does the same each time it runs."""
    global _ticks
    _ticks = count(1)


# --- inheritance ----------------------------------------------------------------------------


class Person(Base):
    """The base of three joined tables, with a version counter; a column with another name."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column("full_name", String(50))
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {  # read by SQLAlchemy
        "polymorphic_on": "kind",
        "polymorphic_identity": "person",
        "version_id_col": version,
    }


class Employee(Person):
    """A joined subclass that refers to itself."""

    __tablename__ = "employee"
    id: Mapped[int] = mapped_column(
        ForeignKey("person.id", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True
    )
    salary: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    boss_id: Mapped[int | None] = mapped_column(
        ForeignKey("employee.id", ondelete="SET NULL", onupdate="CASCADE")
    )
    boss: Mapped[Employee | None] = relationship(
        back_populates="reports", remote_side=[id], foreign_keys=[boss_id]
    )
    reports: Mapped[list[Employee]] = relationship(back_populates="boss", foreign_keys=[boss_id])
    __mapper_args__ = {
        "polymorphic_identity": "employee",
        "inherit_condition": id == Person.id,
    }


class Manager(Employee):
    """A third table, with a server default."""

    __tablename__ = "manager"
    id: Mapped[int] = mapped_column(
        ForeignKey("employee.id", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True
    )
    budget: Mapped[int] = mapped_column(server_default=text("100"))
    __mapper_args__ = {"polymorphic_identity": "manager"}


class Vehicle(Base):
    """Three classes in one table, with a column that changes whenever a row does."""

    __tablename__ = "vehicle"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    wheels: Mapped[int | None]
    touched: Mapped[int] = mapped_column(default=tick, onupdate=tick)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}


class Car(Vehicle):
    """A single-table subclass."""

    doors: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "car"}


class Truck(Vehicle):
    """Another one."""

    load: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))
    __mapper_args__ = {"polymorphic_identity": "truck"}


class Shape(Base):
    """The base of a concrete table."""

    __tablename__ = "shape"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str | None] = mapped_column(String(50))


class Circle(Shape):
    """A class with a whole table of its own."""

    __tablename__ = "circle"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str | None] = mapped_column(String(50))
    radius: Mapped[float] = mapped_column(Double())
    __mapper_args__ = {"concrete": True}


# --- one to many ----------------------------------------------------------------------------


class Shelf(Base):
    """One to many with a backref; a synonym and an SQL expression beside the columns."""

    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column("shelf_title", String(50))
    heading: Mapped[str | None] = synonym("title")
    books: Mapped[list[Book]] = relationship(back_populates="shelf")


class Book(Base):
    """The many, which may be without the one."""

    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50))
    pages: Mapped[int | None]
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"))
    shelf: Mapped[Shelf | None] = relationship(back_populates="books")


Shelf.length = column_property(  # type: ignore[attr-defined]
    func.coalesce(func.length(Shelf.__table__.c.shelf_title), 0)
)


class Crate(Base):
    """One to many without a backref."""

    __tablename__ = "crate"
    id: Mapped[int] = mapped_column(primary_key=True)
    bottles: Mapped[list[Bottle]] = relationship()


class Bottle(Base):
    """The many, which do not know the one."""

    __tablename__ = "bottle"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str | None] = mapped_column(String(50))
    crate_id: Mapped[int | None] = mapped_column(ForeignKey("crate.id"))


class Barrel(Base):
    """The same again with a column that changes whenever the row does."""

    __tablename__ = "barrel"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str | None] = mapped_column(String(50))
    touched: Mapped[int] = mapped_column(default=tick, onupdate=tick)
    cellar_id: Mapped[int | None] = mapped_column(ForeignKey("cellar.id"))


class Cellar(Base):
    """One to many without a backref."""

    __tablename__ = "cellar"
    id: Mapped[int] = mapped_column(primary_key=True)
    barrels: Mapped[list[Barrel]] = relationship()


class Album(Base):
    """A parent whose children die when they leave."""

    __tablename__ = "album"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(String(50))
    photos: Mapped[list[Photo]] = relationship(back_populates="album", cascade="all, delete-orphan")


class Photo(Base):
    """A child that does not live without its parent."""

    __tablename__ = "photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    caption: Mapped[str | None] = mapped_column(String(50))
    album_id: Mapped[int] = mapped_column(ForeignKey("album.id"))
    album: Mapped[Album] = relationship(back_populates="photos")


class Order(Base):
    """A parent whose key is part of its children's."""

    __tablename__ = "purchase"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str | None] = mapped_column(String(50))
    lines: Mapped[list[Line]] = relationship(back_populates="order", cascade="all, delete-orphan")


class Line(Base):
    """A composite key with a foreign key in it."""

    __tablename__ = "purchase_line"
    order_id: Mapped[int] = mapped_column(ForeignKey("purchase.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    article: Mapped[str | None] = mapped_column(String(50))
    quantity: Mapped[int] = mapped_column(default=1)
    order: Mapped[Order] = relationship(back_populates="lines")


class Node(Base):
    """A tree."""

    __tablename__ = "node"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("node.id"))
    children: Mapped[list[Node]] = relationship(back_populates="parent")
    parent: Mapped[Node | None] = relationship(back_populates="children", remote_side=[id])


class Company(Base):
    """Two tables that refer to each other; the flush writes one of the keys in a second UPDATE."""

    __tablename__ = "company"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    favourite_id: Mapped[int | None] = mapped_column(
        ForeignKey("contact.id", name="fk_company_favourite", use_alter=True)
    )
    favourite: Mapped[Contact | None] = relationship(foreign_keys=[favourite_id], post_update=True)
    contacts: Mapped[list[Contact]] = relationship(
        back_populates="company", foreign_keys="Contact.company_id"
    )


class Contact(Base):
    """The other of the two."""

    __tablename__ = "contact"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    company_id: Mapped[int | None] = mapped_column(ForeignKey("company.id"))
    company: Mapped[Company | None] = relationship(
        back_populates="contacts", foreign_keys=[company_id]
    )


class Ticket(Base):
    """A key that the database gives; the program knows it by its tag."""

    __tablename__ = "ticket"
    id: Mapped[int] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(String(20), unique=True)
    title: Mapped[str | None] = mapped_column(String(50))
    replies: Mapped[list[Reply]] = relationship(back_populates="ticket")


class Reply(Base):
    """The same, with a foreign key to such a key."""

    __tablename__ = "reply"
    id: Mapped[int] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(String(20), unique=True)
    words: Mapped[str | None] = mapped_column(Text())
    ticket_id: Mapped[int | None] = mapped_column(ForeignKey("ticket.id"))
    ticket: Mapped[Ticket | None] = relationship(back_populates="replies")


class Blog(Base):
    """Collections that are never loaded."""

    __tablename__ = "blog"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(String(50))
    posts: WriteOnlyMapped[Post] = relationship()
    comments: DynamicMapped[Comment] = relationship()


class Post(Base):
    """A member of a write-only collection."""

    __tablename__ = "post"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(String(50))
    blog_id: Mapped[int | None] = mapped_column(ForeignKey("blog.id"))


class Comment(Base):
    """A member of a dynamic collection."""

    __tablename__ = "comment"
    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str | None] = mapped_column(String(50))
    blog_id: Mapped[int | None] = mapped_column(ForeignKey("blog.id"))


# --- many to many ---------------------------------------------------------------------------


def _end(name: str, to: str) -> Column[int]:
    """A column of an association table, whose rows go and change with either end."""
    key = ForeignKey(to, ondelete="CASCADE", onupdate="CASCADE")
    return Column(name, key, primary_key=True)


article_tag: Final = Table(
    "article_tag", Base.metadata, _end("article_id", "article.id"), _end("tag_id", "tag.id")
)
student_course: Final = Table(
    "student_course",
    Base.metadata,
    _end("student_id", "student.id"),
    _end("course_id", "course.id"),
)
tag_broader: Final = Table(
    "tag_broader", Base.metadata, _end("tag_id", "tag.id"), _end("broader_id", "tag.id")
)


class Article(Base):
    """Many to many, known at both ends."""

    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(String(50))
    tags: Mapped[list[Tag]] = relationship(secondary=article_tag, back_populates="articles")


class Tag(Base):
    """The other end; and many to many with itself."""

    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str | None] = mapped_column(String(50))
    articles: Mapped[set[Article]] = relationship(secondary=article_tag, back_populates="tags")
    broader: Mapped[list[Tag]] = relationship(
        secondary=tag_broader,
        primaryjoin=lambda: Tag.id == tag_broader.c.tag_id,
        secondaryjoin=lambda: Tag.id == tag_broader.c.broader_id,
    )


class Student(Base):
    """Many to many, known at one end."""

    __tablename__ = "student"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    courses: Mapped[list[Course]] = relationship(secondary=student_course)


class Course(Base):
    """The end that does not know."""

    __tablename__ = "course"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))


class Club(Base):
    """Many to many with an object for each pair."""

    __tablename__ = "club"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    memberships: Mapped[list[Membership]] = relationship(
        back_populates="club", cascade="all, delete-orphan"
    )
    members: AssociationProxy[list[Member]] = association_proxy(
        "memberships", "member", creator=lambda member: Membership(member=member, role="new")
    )


class Member(Base):
    """The other end of the association object."""

    __tablename__ = "member"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    memberships: Mapped[list[Membership]] = relationship(
        back_populates="member", cascade="all, delete-orphan"
    )


class Membership(Base):
    """An association object."""

    __tablename__ = "membership"
    club_id: Mapped[int] = mapped_column(ForeignKey("club.id"), primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    role: Mapped[str | None] = mapped_column(String(50))
    club: Mapped[Club] = relationship(back_populates="memberships")
    member: Mapped[Member] = relationship(back_populates="memberships")


# --- keys -----------------------------------------------------------------------------------


class Path(Base):
    """A key that people give and change."""

    __tablename__ = "path"
    path: Mapped[str] = mapped_column(String(50), primary_key=True)
    size: Mapped[int | None]


class Slot(Base):
    """A key of two columns."""

    __tablename__ = "slot"
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hour: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    booked_by: Mapped[str | None] = mapped_column(String(50))


class Reading(Base):
    """A key that is neither number nor text."""

    __tablename__ = "reading"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    degrees: Mapped[Decimal | None] = mapped_column(Numeric(6, 3))


class Country(Base):
    """A natural key that the database carries over to the rows that refer to it."""

    __tablename__ = "country"
    code: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    cities: Mapped[list[City]] = relationship(back_populates="country")


class City(Base):
    """A row that refers to it."""

    __tablename__ = "city"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    country_code: Mapped[str | None] = mapped_column(ForeignKey("country.code", onupdate="CASCADE"))
    country: Mapped[Country | None] = relationship(back_populates="cities")


class Brand(Base):
    """A natural key that the flush carries over; the database knows no foreign key."""

    __tablename__ = "brand"
    code: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    products: Mapped[list[Product]] = relationship(
        primaryjoin=lambda: Brand.code == foreign(remote(Product.brand_code)),
        back_populates="brand",
        passive_updates=False,
    )


class Product(Base):
    """A row that refers to it."""

    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    brand_code: Mapped[str | None] = mapped_column(String(20))
    brand: Mapped[Brand | None] = relationship(
        primaryjoin=lambda: foreign(Product.brand_code) == remote(Brand.code),
        back_populates="products",
    )


class Folder(Base):
    """A parent whose children the database deletes or cuts off."""

    __tablename__ = "folder"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("folder.id", ondelete="CASCADE"))
    folders: Mapped[list[Folder]] = relationship(cascade="all", passive_deletes=True)
    files: Mapped[list[File]] = relationship(cascade="all", passive_deletes=True)
    notes: Mapped[list[Note]] = relationship(passive_deletes=True)


class File(Base):
    """A child that is deleted with its parent."""

    __tablename__ = "file"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    folder_id: Mapped[int | None] = mapped_column(ForeignKey("folder.id", ondelete="CASCADE"))


class Note(Base):
    """A child that is left without its parent."""

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str | None] = mapped_column(String(50))
    folder_id: Mapped[int | None] = mapped_column(ForeignKey("folder.id", ondelete="SET NULL"))


# --- columns --------------------------------------------------------------------------------


class Stamped:
    """Columns that are filled in by Python, by SQL, or by the database; one is deferred."""

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(String(50))
    one: Mapped[int] = mapped_column(default=1)
    two: Mapped[int] = mapped_column(server_default=text("2"))
    total: Mapped[int] = mapped_column(Computed("one + two", persisted=True))
    touched: Mapped[int] = mapped_column(default=tick, onupdate=tick)
    writes: Mapped[int] = mapped_column(default=0, onupdate=text("writes + 1"))
    made: Mapped[datetime] = mapped_column(server_default=func.now())
    body: Mapped[str | None] = mapped_column(Text(), deferred=True)


class Doc(Stamped, Base):
    """What the database fills in is read when it is asked for."""

    __tablename__ = "doc"
    __mapper_args__ = {"eager_defaults": False}


class Memo(Stamped, Base):
    """What the database fills in is read at once."""

    __tablename__ = "memo"
    __mapper_args__ = {"eager_defaults": True}


class Page(Base):
    """A version counter and a column that changes with it."""

    __tablename__ = "page"
    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str | None] = mapped_column(String(50))
    touched: Mapped[int] = mapped_column(default=tick, onupdate=tick)
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}


@dataclass
class Point:
    """A value of two columns."""

    x: int | None
    y: int | None


class Place(Base):
    """Columns that are attributes of a value."""

    __tablename__ = "place"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(50))
    start: Mapped[Point] = composite(mapped_column("start_x"), mapped_column("start_y"))
    end_x: Mapped[int | None]
    end_y: Mapped[int | None]
    end: Mapped[Point] = composite(Point, "end_x", "end_y")


class Coin(MappedAsDataclass, Base):
    """A dataclass with defaults."""

    __tablename__ = "coin"
    id: Mapped[int] = mapped_column(primary_key=True)
    worth: Mapped[int] = mapped_column(default=1)
    mint: Mapped[str | None] = mapped_column(String(50), default=None)
    note: Mapped[str | None] = mapped_column(String(50), default="none yet")


@audited(entity="bank.Account", mask={"password"}, exclude={"seen"}, label="owner")
class Account(Base):
    """A name of its own in the log, a hidden field and one left out."""

    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(50))
    password: Mapped[str | None] = mapped_column(String(50))
    seen: Mapped[int | None]


@not_audited
class Draft(Base):
    """What the log must not know."""

    __tablename__ = "draft"
    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str | None] = mapped_column(String(50))


# --- types ----------------------------------------------------------------------------------


class Colour(enum.Enum):
    """Names and values that differ."""

    RED = "r"
    BLUE = "b"
    GREEN = "g"

    def __repr__(self) -> str:
        return str(self)


class Reversed(TypeDecorator[str]):
    """Stores text backwards, as an encrypting type would store a cipher."""

    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value[::-1]

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value[::-1]


class Salted(TypeDecorator[str]):
    """Stores the same text in another way each time, as an encrypting type with a nonce does."""

    impl = String(80)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else f"{tick()}:{value}"

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.partition(":")[2]


class Parcel(Base):
    """A column of every type."""

    __tablename__ = "parcel"
    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    weight: Mapped[float | None] = mapped_column(Double())
    fragile: Mapped[bool | None]
    at: Mapped[datetime | None] = mapped_column(DateTime())
    day: Mapped[date | None]
    hour: Mapped[time | None]
    took: Mapped[timedelta | None]
    token: Mapped[UUID | None]
    blob: Mapped[bytes | None] = mapped_column(LargeBinary())
    colour: Mapped[Colour | None]
    backwards: Mapped[str | None] = mapped_column(Reversed())
    data: Mapped[Any] = mapped_column(JSON())
    tracked: Mapped[Any] = mapped_column(MutableDict.as_mutable(JSON()))
    stops: Mapped[Any] = mapped_column(MutableList.as_mutable(JSON()))
    size: Mapped[Any] = mapped_column(ChoiceType([("s", "small"), ("l", "large")]))
    mail: Mapped[str | None] = mapped_column(EmailType())
    address: Mapped[Any] = mapped_column(IPAddressType(50))
    codes: Mapped[Any] = mapped_column(ScalarListType(int))


class Jar(Base):
    """A column that is pickled."""

    __tablename__ = "jar"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[Any] = mapped_column(PickleType())


class Safe(Base):
    """A column that is never stored twice in the same way."""

    __tablename__ = "safe"
    id: Mapped[int] = mapped_column(primary_key=True)
    secret: Mapped[str | None] = mapped_column(Salted())


COLLECTIONS: Final = (
    (Article, "tags", article_tag.c.article_id, article_tag.c.tag_id),
    (Tag, "articles", article_tag.c.tag_id, article_tag.c.article_id),
    (Tag, "broader", tag_broader.c.tag_id, tag_broader.c.broader_id),
    (Student, "courses", student_course.c.student_id, student_course.c.course_id),
)
"""The many-to-many collections: class, name, and the columns of owner and member."""
