"""Steps about relationships other than many-to-many."""

from __future__ import annotations

from typing import Any

from tests.workload.kinds.rows import make
from tests.workload.models import (
    Album,
    Barrel,
    Blog,
    Book,
    Bottle,
    Brand,
    Cellar,
    City,
    Club,
    Comment,
    Company,
    Contact,
    Country,
    Crate,
    Employee,
    File,
    Folder,
    Line,
    Member,
    Membership,
    Node,
    Note,
    Order,
    Photo,
    Post,
    Product,
    Reply,
    Shelf,
    Ticket,
)
from tests.workload.running import Here, Skip
from tests.workload.steps import step

COLLECTIONS: tuple[tuple[Any, str, Any], ...] = (
    (Shelf, "books", Book),
    (Crate, "bottles", Bottle),
    (Company, "contacts", Contact),
    (Employee, "reports", Employee),
    (Ticket, "replies", Reply),
    (Country, "cities", City),
    (Brand, "products", Product),
    (Folder, "files", File),
    (Folder, "notes", Note),
)
"""One to many, whose members may be without an owner."""

OWNERS: tuple[tuple[Any, str, Any], ...] = (
    (Book, "shelf", Shelf),
    (Contact, "company", Company),
    (Employee, "boss", Employee),
    (Reply, "ticket", Ticket),
    (City, "country", Country),
    (Product, "brand", Brand),
)
"""The same from the other end."""


def _related(here: Here, relations: tuple[tuple[Any, str, Any], ...]) -> tuple[Any, str, Any]:
    """An object, one of its relationships, and the class at the other end."""
    instance = here.some(*(cls for cls, _, _ in relations))
    found = {name: other for cls, name, other in relations if isinstance(instance, cls)}
    name = here.one_of(*found) if len(found) > 1 else next(iter(found))
    return instance, name, found[name]


def _members(here: Here) -> list[Any]:
    """The members of a collection that has any."""
    owner, name, _ = _related(here, COLLECTIONS)
    members: list[Any] = getattr(owner, name)
    if not members:
        raise Skip
    return members


def _member_and_owner(here: Here) -> tuple[Any, str, Any]:
    """A member, the relationship to its owner, and another owner or none."""
    member, name, owner_class = _related(here, OWNERS)
    owner = here.maybe(owner_class)
    if member is owner:
        raise Skip
    return member, name, owner


@step("flush", weight=8)
def relate(here: Here) -> None:
    """Append an object to a collection."""
    owner, name, member_class = _related(here, COLLECTIONS)
    member = here.some(member_class)
    if owner is member:
        raise Skip
    getattr(owner, name).append(member)


@step("flush", weight=6)
def relate_new(here: Here) -> None:
    """Append a new object to a collection."""
    owner, name, member_class = _related(here, COLLECTIONS)
    getattr(owner, name).append(make(here, member_class))


@step("flush", weight=6)
def relate_all_new(here: Here) -> None:
    """Add an owner and its members, all new; their keys are known only when it is written."""
    owner = make(here, *(cls for cls, _, _ in COLLECTIONS))
    for cls, name, member_class in COLLECTIONS:
        if isinstance(owner, cls):
            getattr(owner, name).extend(make(here, member_class) for _ in range(here.number(3)))
    here.session.add(owner)


@step("flush", weight=6)
def unrelate(here: Here) -> None:
    """Take a member out of a collection."""
    members = _members(here)
    members.pop(here.number(9) % len(members))


@step("flush", weight=3)
def replace_members(here: Here) -> None:
    """Replace a collection by another."""
    owner, name, member_class = _related(here, COLLECTIONS)
    members = {here.some(member_class): None for _ in range(here.number(3))}
    members.pop(owner, None)
    setattr(owner, name, list(members))


@step("flush", weight=3)
def unrelate_and_relate(here: Here) -> None:
    """Take a member out and put it back before anything is written."""
    members = _members(here)
    members.append(members.pop())


@step("flush", weight=8)
def set_owner(here: Here) -> None:
    """Set the other end, to an object or to nothing."""
    member, name, owner = _member_and_owner(here)
    setattr(member, name, owner)


@step("flush", weight=2)
def set_owner_back(here: Here) -> None:
    """Set the other end to another, and back."""
    member, name, owner = _member_and_owner(here)
    was = getattr(member, name)
    setattr(member, name, owner)
    setattr(member, name, was)


@step("flush", weight=4)
def set_new_owner(here: Here) -> None:
    """Set the other end to a new object."""
    member, name, owner_class = _related(here, OWNERS)
    setattr(member, name, make(here, owner_class))


@step("flush", weight=2)
def set_owner_blindly(here: Here) -> None:
    """Set the other end of an object nothing is known of any more."""
    member, name, owner = _member_and_owner(here)
    if member in here.session.new:
        raise Skip
    here.session.expire(member)
    setattr(member, name, owner)


@step("flush", weight=2)
def delete_owner_and_change_members(here: Here) -> None:
    """Delete an owner whose members are changed too."""
    shelf = here.some(Shelf)
    for book in shelf.books:
        book.title = here.value(Book, "title")
    here.session.delete(shelf)


@step("flush", weight=4)
def store(here: Here) -> None:
    """Put a barrel into a cellar, or take one out: only the flush sees that the barrel changes."""
    cellar = here.some(Cellar)
    if here.flip() or not cellar.barrels:
        cellar.barrels.append(here.some(Barrel))
    else:
        cellar.barrels.pop()


# --- trees ---


@step("flush", weight=5)
def grow(here: Here) -> None:
    """Move a node below an older one, through either end, or to the top."""
    node, parent = here.some(Node), here.maybe(Node)
    if parent is not None and not parent.id < node.id:
        raise Skip
    if parent is not None and here.flip():
        parent.children.append(node)
    else:
        node.parent = parent


@step("flush", weight=2)
def grow_new(here: Here) -> None:
    """Add a tree of three."""
    root, child, leaf = (make(here, Node) for _ in range(3))
    root.children.append(child)
    child.children.append(leaf)
    here.session.add(leaf)


# --- children that do not live alone ---


@step("flush", weight=5)
def add_photo(here: Here) -> None:
    """Add a photo to an album."""
    here.some(Album).photos.append(_new_photo(here))


def _new_photo(here: Here) -> Photo:
    key = here.new(Bottle)["id"]  # any number will do
    return Photo(id=key, **here.values(Photo))


@step("flush", weight=2)
def add_album(here: Here) -> None:
    """Add an album with photos."""
    album = make(here, Album)
    album.photos = [_new_photo(here) for _ in range(1 + here.number(3))]
    here.session.add(album)


@step("flush", weight=5)
def drop_photo(here: Here) -> None:
    """Take a photo out of its album, and so delete it."""
    album = here.some(Album)
    if not album.photos:
        raise Skip
    photo = album.photos.pop(here.number(9) % len(album.photos))
    if here.flip():
        photo.caption = "never written"


@step("flush", weight=3)
def move_photo(here: Here) -> None:
    """Move a photo to another album, through either end."""
    photo, album = here.some(Photo), here.some(Album)
    if here.flip():
        photo.album = album
    else:
        album.photos.append(photo)


@step("flush", weight=2)
def replace_photos(here: Here) -> None:
    """Replace all photos of an album."""
    here.some(Album).photos = [_new_photo(here) for _ in range(here.number(3))]


@step("flush", weight=5)
def add_line(here: Here) -> None:
    """Add a line to an order."""
    order = here.some(Order)
    order.lines.append(Line(number=next_number(here, order), **here.values(Line)))


def next_number(here: Here, order: Order) -> int:
    """A number no line has: one that was taken out before must not become the row of another."""
    here.session.flush()
    return 1 + max((line.number for line in order.lines), default=0)


@step("flush", weight=2)
def add_line_by_keys(here: Here) -> None:
    """Add a child whose key holds its parent's, by columns only."""
    order = here.some(Order)
    number = next_number(here, order)
    here.session.add(Line(order_id=order.id, number=number, **here.values(Line)))


@step("flush", weight=2)
def add_order(here: Here) -> None:
    """Add an order with lines."""
    order = make(here, Order)
    order.lines = [Line(number=number, **here.values(Line)) for number in range(here.number(4))]
    here.session.add(order)


@step("flush", weight=4)
def drop_line(here: Here) -> None:
    """Take a line out of its order, and so delete it."""
    order = here.some(Order)
    if not order.lines:
        raise Skip
    order.lines.pop(here.number(9) % len(order.lines))


@step("row switch", weight=3)
def replace_line(here: Here) -> None:
    """Take a line out, and add another one with its key in the same flush."""
    order = here.some(Order)
    if not order.lines:
        raise Skip
    line = order.lines.pop()
    order.lines.append(Line(number=line.number, **here.values(Line)))


@step("flush", weight=3)
def move_line(here: Here) -> None:
    """Give a line to another order, which changes its key."""
    line, order = here.some(Line), here.some(Order)
    line.order = order


@step("flush", weight=2)
def renumber_line(here: Here) -> None:
    """Change the part of a key that is not the parent's."""
    here.some(Line).number = here.number(9)


# --- association objects ---


@step("flush", weight=6)
def join(here: Here) -> None:
    """Make somebody a member of a club."""
    club, member = here.some(Club), here.some(Member)
    match here.number(3):
        case 0:
            here.session.add(Membership(club=club, member=member, **here.values(Membership)))
        case 1:
            club.memberships.append(Membership(member=member, **here.values(Membership)))
        case _:
            club.members.append(member)


@step("flush", weight=4)
def leave(here: Here) -> None:
    """Take somebody out of a club."""
    club = here.some(Club)
    if not club.memberships:
        raise Skip
    if here.flip():
        club.memberships.pop()
    else:
        club.members.pop()


@step("flush", weight=2)
def change_club(here: Here) -> None:
    """Give a membership to another club, which changes its key."""
    membership, club = here.some(Membership), here.some(Club)
    membership.club = club


# --- a second UPDATE ---


@step("flush", weight=6)
def favour(here: Here) -> None:
    """Set what the flush writes in a second UPDATE, to an old or a new object, or to nothing."""
    company = here.some(Company)
    company.favourite = make(here, Contact) if here.flip() else here.maybe(Contact)


@step("flush", weight=4)
def found(here: Here) -> None:
    """Add two rows that refer to each other."""
    company, contact = make(here, Company), make(here, Contact)
    contact.company = company
    company.favourite = contact
    here.session.add(company)


@step("flush", weight=2)
def favour_and_change(here: Here) -> None:
    """Change a column of the first UPDATE and that of the second."""
    company = here.some(Company)
    company.favourite = here.maybe(Contact)
    company.name = here.value(Company, "name")


# --- keys that others hold ---


@step("flush", weight=4)
def rename_country_known(here: Here) -> None:
    """Change a key that the database carries over to rows which are all in memory."""
    country = here.stored(Country)
    here.session.flush()
    here.session.refresh(country, ["cities"])
    for city in country.cities:
        here.session.refresh(city)
    for name, value in here.new(Country).items():
        setattr(country, name, value)
    here.session.flush()


@step("flush", weight=4)
def rename_brand(here: Here) -> None:
    """Change a key that the flush carries over."""
    brand = here.some(Brand)
    for name, value in here.new(Brand).items():
        setattr(brand, name, value)


@step("flush", weight=3)
def delete_known_folder(here: Here) -> None:
    """Delete a parent whose children are all in memory, before the database deletes them."""
    folder = here.stored(Folder)
    here.session.flush()
    _load(here, folder)
    here.session.delete(folder)
    here.session.flush()


def _load(here: Here, folder: Folder) -> None:
    here.session.refresh(folder, ["folders", "files", "notes"])
    for child in folder.folders:
        _load(here, child)


@step("flush", weight=3)
def nest_folder(here: Here) -> None:
    """Put a folder into an older one."""
    folder, parent = here.some(Folder), here.some(Folder)
    if not parent.id < folder.id:
        raise Skip
    parent.folders.append(folder)


# --- collections that are not loaded ---


@step("flush", weight=5)
def post(here: Here) -> None:
    """Add to a collection that is never loaded, old or new."""
    blog = here.some(Blog)
    blog.posts.add(make(here, Post) if here.flip() else here.some(Post))


@step("flush", weight=3)
def unpost(here: Here) -> None:
    """Take out of a collection that is never loaded."""
    blog, member = here.some(Blog), here.some(Post)
    if member.blog_id != blog.id:
        raise Skip
    blog.posts.remove(member)


@step("flush", weight=4)
def comment(here: Here) -> None:
    """Add to a collection that is loaded by query, old or new."""
    blog = here.some(Blog)
    blog.comments.append(make(here, Comment) if here.flip() else here.some(Comment))


@step("flush", weight=3)
def uncomment(here: Here) -> None:
    """Take out of a collection that is loaded by query."""
    blog = here.some(Blog)
    member = blog.comments.first()
    if member is None:
        raise Skip
    blog.comments.remove(member)
