"""What a random program can choose: values for columns, and keys for new rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from random import Random
from typing import Any, Final, TypeAlias
from uuid import UUID

from tests.workload import models
from tests.workload.models import Base, Colour, Point

__all__ = ["RECIPES", "Recipe", "recipe_of"]

Choice: TypeAlias = Callable[[Random], Any]


def text(random: Random) -> str:
    """Text as people write it."""
    return random.choice(_TEXTS) if random.random() < 0.3 else f"t{random.randrange(40)}"


_TEXTS: Final = (
    "",
    " ",
    'O\'Neil "the q"',
    "über 🎈",
    "back\\slash %s :name",
    "two\nlines",
    "t1",
    "T1",
    "x" * 50,
)


def number(random: Random) -> int:
    """A small number, most of the time."""
    return random.choice((0, -1, 2**31 - 1)) if random.random() < 0.1 else random.randrange(9)


def optional(choice: Choice) -> Choice:
    """The same, or ``None``."""
    return lambda random: None if random.random() < 0.2 else choice(random)


def money(random: Random) -> Decimal:
    """A number with two places."""
    return Decimal(random.randrange(-500, 500)) / 100


def json(random: Random) -> Any:
    """A value as JSON has them."""
    return {
        key: random.choice((None, 7, 2.5, True, "é", [5, 6, 7], {"deep": [{"a": "b"}]}))
        for key in random.sample(("k", "l", "m.n", "$t", "ö"), random.randrange(4))
    }


def items(random: Random) -> list[int]:
    """A list of numbers."""
    return [random.randrange(4) for _ in range(random.randrange(6))]


def shared(random: Random) -> Any:
    """A value that contains the same text more than once, as one object or as several."""
    word = f"w{random.randrange(5)}"
    return [word, word, {"word": word[:1] + word[1:]}]


def moment(random: Random) -> datetime:
    """A time without a zone, to the second, as every database keeps it."""
    return datetime(2026, 1, 1) + timedelta(seconds=random.randrange(10**6))


def constant(*options: Any) -> Choice:
    """One of these."""
    return lambda random: random.choice(options)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How rows of a class are made: the columns to choose for, and how they are told apart.

    ``handle`` names the attributes of the key, or of the tag where the database gives the key.
    ``key`` makes a handle from a number; ``None`` where keys come from other rows.
    """

    model: type[Base]
    columns: dict[str, Choice] = field(default_factory=dict)
    handle: tuple[str, ...] = ("id",)
    key: Callable[[int], Any] | None = lambda number: number

    @property
    def has_tag(self) -> bool:
        """Whether the key is not the handle."""
        return self.handle == ("tag",)


def _lettered(number: int) -> str:
    """A text that shows in which room it is made, as even and odd numbers do."""
    return f"{'ab'[number % 2]}{number}"


_NAME: Final = {"name": optional(text)}

_STAMPED: Final[dict[str, Choice]] = {
    "title": optional(text),
    "one": number,
    "two": constant(0, 1, 2, 3),
    "body": optional(text),
}

_PARCEL: Final[dict[str, Choice]] = {
    "price": optional(money),
    "weight": optional(constant(0.0, 0.1, -2.5, 1e300, 1 / 3)),
    "fragile": optional(constant(True, False)),
    "at": optional(moment),
    "day": optional(lambda random: moment(random).date()),
    "hour": optional(lambda random: time(random.randrange(24), 30, 5)),
    "took": optional(lambda random: timedelta(seconds=random.randrange(10**6))),
    "token": optional(lambda random: UUID(int=random.randrange(10**9))),
    "blob": optional(constant(b"", b"\x00\xff", b"text")),
    "colour": optional(constant(*Colour)),
    "backwards": optional(text),
    "data": optional(json),
    "tracked": optional(json),
    "stops": optional(items),
    "size": optional(constant("s", "l")),
    "mail": optional(constant("ann@example.org", "eve@example.org")),
    "address": optional(constant(IPv4Address("10.0.0.1"), IPv4Address("127.0.0.1"))),
    "codes": optional(items),
}

RECIPES: Final = (
    Recipe(models.Person, {"name": text}),
    Recipe(models.Employee, {"name": text, "salary": optional(money)}),
    Recipe(models.Manager, {"name": text, "salary": optional(money), "budget": number}),
    Recipe(models.Vehicle, {"wheels": optional(number)}),
    Recipe(models.Car, {"wheels": optional(number), "doors": optional(number)}),
    Recipe(models.Truck, {"wheels": optional(number), "load": optional(money)}),
    Recipe(models.Shape, {"label": optional(text)}),
    Recipe(models.Circle, {"label": optional(text), "radius": constant(0.5, 1.0, 2.25)}),
    Recipe(models.Shelf, {"title": optional(text)}),
    Recipe(models.Book, {"title": text, "pages": optional(number)}),
    Recipe(models.Crate),
    Recipe(models.Bottle, {"label": optional(text)}),
    Recipe(models.Cellar),
    Recipe(models.Barrel, {"label": optional(text)}),
    Recipe(models.Album, {"title": optional(text)}),
    Recipe(models.Photo, {"caption": optional(text)}, key=None),
    Recipe(models.Order, {"customer": optional(text)}),
    Recipe(
        models.Line,
        {"article": optional(text), "quantity": number},
        handle=("order_id", "number"),
        key=None,
    ),
    Recipe(models.Node, _NAME),
    Recipe(models.Company, _NAME),
    Recipe(models.Contact, _NAME),
    Recipe(models.Ticket, {"title": optional(text)}, handle=("tag",), key=_lettered),
    Recipe(models.Reply, {"words": optional(text)}, handle=("tag",), key=_lettered),
    Recipe(models.Blog, {"title": optional(text)}),
    Recipe(models.Post, {"title": optional(text)}),
    Recipe(models.Comment, {"words": optional(text)}),
    Recipe(models.Article, {"title": optional(text)}),
    Recipe(models.Tag, {"word": optional(text)}),
    Recipe(models.Student, _NAME),
    Recipe(models.Course, _NAME),
    Recipe(models.Club, _NAME),
    Recipe(models.Member, _NAME),
    Recipe(models.Membership, {"role": optional(text)}, handle=("club_id", "member_id"), key=None),
    Recipe(models.Path, {"size": optional(number)}, handle=("path",), key=_lettered),
    Recipe(
        models.Slot,
        {"booked_by": optional(text)},
        handle=("day", "hour"),
        key=lambda number: (number % 12, number % 24),
    ),
    Recipe(models.Reading, {"degrees": optional(money)}, key=lambda number: UUID(int=number)),
    Recipe(models.Country, _NAME, handle=("code",), key=_lettered),
    Recipe(models.City, _NAME),
    Recipe(models.Brand, _NAME, handle=("code",), key=_lettered),
    Recipe(models.Product, _NAME),
    Recipe(models.Folder, _NAME),
    Recipe(models.File, _NAME),
    Recipe(models.Note, {"words": optional(text)}),
    Recipe(models.Doc, _STAMPED),
    Recipe(models.Memo, _STAMPED),
    Recipe(models.Page, {"words": optional(text)}),
    Recipe(
        models.Place,
        {
            "name": optional(text),
            "start": lambda random: Point(number(random), number(random)),
            "end": lambda random: Point(optional(number)(random), number(random)),
            "end_x": optional(number),
        },
    ),
    Recipe(models.Coin, {"worth": number, "mint": optional(text), "note": optional(text)}),
    Recipe(
        models.Account,
        {"owner": optional(text), "password": optional(text), "seen": optional(number)},
    ),
    Recipe(models.Draft, {"words": optional(text)}),
    Recipe(models.Parcel, _PARCEL),
    Recipe(models.Jar, {"content": optional(shared)}),
    Recipe(models.Safe, {"secret": optional(text)}),
)

_BY_MODEL: Final = {one.model: one for one in RECIPES}


def recipe_of(model: type) -> Recipe:
    """How rows of a class are made."""
    return _BY_MODEL[model]


CAST: Final = (
    "Person Employee Manager",
    "Vehicle Car Truck",
    "Shape Circle",
    "Shelf Book",
    "Crate Bottle",
    "Cellar Barrel",
    "Album Photo Bottle",
    "Order Line",
    "Node",
    "Company Contact",
    "Ticket Reply",
    "Blog Post Comment Book",
    "Article Tag",
    "Student Course",
    "Club Member Membership",
    "Path",
    "Slot",
    "Reading",
    "Country City",
    "Brand Product",
    "Folder File Note",
    "Doc Memo",
    "Page",
    "Place",
    "Coin Account Draft",
    "Parcel",
    "Jar Safe Coin Place",
)
"""The classes that appear together. A program has some of these."""
