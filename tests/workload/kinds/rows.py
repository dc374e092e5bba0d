"""Steps about single objects."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import func, inspect
from sqlalchemy.orm import object_mapper
from sqlalchemy.orm.attributes import flag_modified

from tests.workload.choices import RECIPES, recipe_of
from tests.workload.models import (
    Account,
    Album,
    Barrel,
    Blog,
    Book,
    Bottle,
    Brand,
    Car,
    Cellar,
    City,
    Club,
    Coin,
    Company,
    Contact,
    Country,
    Crate,
    Doc,
    Employee,
    File,
    Folder,
    Jar,
    Manager,
    Member,
    Membership,
    Memo,
    Node,
    Page,
    Parcel,
    Path,
    Person,
    Photo,
    Place,
    Point,
    Post,
    Product,
    Reading,
    Reply,
    Safe,
    Shelf,
    Slot,
    Ticket,
    Truck,
    Vehicle,
)
from tests.workload.running import Here, Skip
from tests.workload.steps import step

MODELS: tuple[Any, ...] = tuple(
    recipe.model for recipe in RECIPES if recipe.model not in (Jar, Safe)
)
"""All but those whose types need something of their own."""

MADE: tuple[Any, ...] = tuple(model for model in MODELS if recipe_of(model).key is not None)
"""Those of them that do not need another row to be made."""


def make(here: Here, *models: type[Any]) -> Any:
    """A new object of one of these classes, not added yet.

    Half of them leave columns to their defaults.
    """
    model, key = here.new_of(*models)
    values = here.values(model, all=here.flip())
    needed = {name: here.value(model, name) for name in _needed(model) if name not in values}
    return model(**key, **needed, **values)


def _needed(model: type[Any]) -> list[str]:
    """The columns that have to be given a value."""
    columns = inspect(model).columns
    return [
        name
        for name in recipe_of(model).columns
        if name in columns
        and not columns[name].nullable
        and columns[name].default is None
        and columns[name].server_default is None
    ]


@step("flush", weight=50)
def add(here: Here) -> None:
    """Add a new object."""
    here.session.add(make(here, *MADE))


@step("flush", weight=6)
def add_several(here: Here) -> None:
    """Add several new objects of one class, which become one INSERT."""
    model = here.a_class(*MADE)
    here.session.add_all([make(here, model) for _ in range(2 + here.number(3))])


@step("flush", weight=1)
def add_and_forget(here: Here) -> None:
    """Add an object and take it out again."""
    instance = make(here, *MADE)
    here.session.add(instance)
    here.session.expunge(instance)


@step("flush", weight=40)
def change(here: Here) -> None:
    """Set columns of an object."""
    instance = here.some(*MODELS)
    for name, value in here.values(type(instance)).items():
        setattr(instance, name, value)


@step("flush", weight=4)
def change_twice(here: Here) -> None:
    """Set a column, flush, and set it again."""
    instance = here.some(*MODELS)
    for name, value in here.values(type(instance)).items():
        setattr(instance, name, value)
    here.session.flush()
    for name, value in here.values(type(instance)).items():
        setattr(instance, name, value)


_SHARING: Final = {
    Barrel: (Barrel,),
    Vehicle: (Vehicle, Car, Truck),
    Person: (Person, Employee, Manager),
    Doc: (Doc,),
    Memo: (Memo,),
    Page: (Page,),
}
"""Classes with a column that changes whenever a row does, and all that share its table."""


@step("flush", weight=8)
def change_several(here: Here) -> None:
    """Set the same columns of objects that share a table, which become one UPDATE; and again."""
    model = here.a_class(*_SHARING)
    found = [here.some(*_SHARING[model]) for _ in range(3)]
    for instance in found:
        for name, value in here.values(model).items():
            setattr(instance, name, value)
    if here.flip():
        here.session.flush()
        for instance in found:
            for name, value in here.values(model).items():
                setattr(instance, name, value)


@step("flush", weight=4)
def change_back(here: Here) -> None:
    """Set columns to something else, and back."""
    instance = here.some(*MODELS)
    values = here.values(type(instance))
    before = {name: getattr(instance, name) for name in values}
    for name, value in (*values.items(), *before.items()):
        setattr(instance, name, value)


@step("flush", weight=2)
def change_back_later(here: Here) -> None:
    """Set columns to something else, flush, and set them back."""
    instance = here.some(*MODELS)
    values = here.values(type(instance))
    before = {name: getattr(instance, name) for name in values}
    for name, value in values.items():
        setattr(instance, name, value)
    here.session.flush()
    for name, value in before.items():
        setattr(instance, name, value)


@step("flush", weight=3)
def set_same(here: Here) -> None:
    """Set columns to what they are."""
    instance = here.some(*MODELS)
    for name in here.values(type(instance)):
        setattr(instance, name, getattr(instance, name))


@step("flush", weight=8)
def set_blindly(here: Here) -> None:
    """Set columns of an object nothing is known of any more."""
    instance = here.stored(*MODELS)
    here.session.expire(instance)
    for name, value in here.values(type(instance)).items():
        setattr(instance, name, value)


@step("flush", weight=3)
def set_and_refresh(here: Here) -> None:
    """Set columns, and read the object again before they are written."""
    instance = here.stored(*MODELS)
    for name, value in here.values(type(instance)).items():
        setattr(instance, name, value)
    here.session.refresh(instance)


@step("flush", weight=12)
def delete(here: Here) -> None:
    """Delete an object that no other refers to by a rule of the database."""
    here.session.delete(here.stored(*(model for model in MODELS if model not in (Folder, Blog))))


@step("flush", weight=3)
def change_and_delete(here: Here) -> None:
    """Delete an object that has changes which will never be written."""
    instance = here.stored(Book, Doc, Parcel, Manager, Coin, Page, Path)
    for name, value in here.values(type(instance)).items():
        setattr(instance, name, value)
    here.session.delete(instance)


@step("flush", weight=3)
def delete_blindly(here: Here) -> None:
    """Delete an object nothing is known of any more."""
    instance = here.stored(Book, Doc, Parcel, Manager, Truck, Memo)
    here.session.expire(instance)
    here.session.delete(instance)


@step("flush", weight=2)
def add_and_delete(here: Here) -> None:
    """Insert an object and delete it in the same transaction."""
    instance = make(here, *MADE)
    here.session.add(instance)
    here.session.flush()
    here.session.delete(instance)


@step("flush", weight=2)
def delete_and_think_better(here: Here) -> None:
    """Delete an object and add it again before anything is written."""
    instance = here.stored(*MODELS)
    here.session.delete(instance)
    here.session.add(instance)


@step("row switch", weight=2)
def delete_and_resurrect(here: Here) -> None:
    """Delete a row, and write the same again under its key."""
    instance = here.stored(Book, Doc, Truck, Slot, Path, Reading)
    again = type(instance)(**_handle(instance), **here.values(type(instance), all=True))
    here.session.delete(instance)
    here.session.flush()
    here.session.add(again)


@step("row switch", weight=4)
def switch_row(here: Here) -> None:
    """Delete an object and add another one with its key in the same flush."""
    instance = here.stored(Book, Barrel, Doc, Memo, Car, Manager, Slot, Path, Page, Parcel)
    other = type(instance)(**_handle(instance), **here.values(type(instance), all=True))
    if here.flip():
        here.session.expire(instance)
    here.session.delete(instance)
    here.session.add(other)


def _handle(instance: Any) -> dict[str, Any]:
    """The key of an object, or its tag, by attribute."""
    return {name: getattr(instance, name) for name in recipe_of(type(instance)).handle}


@step("flush", weight=8)
def merge(here: Here) -> None:
    """Merge an object from outside onto a row that may be there, or not."""
    instance = make(here, *MADE)
    identity = object_mapper(instance).identity_key_from_instance(instance)
    with here.session.no_autoflush:
        there = here.session.get(*identity[:2])
    if there is not None and type(there) is not type(instance):
        raise Skip  # SQLAlchemy cannot make one class out of another
    here.session.merge(instance)


@step("flush", weight=8)
def merge_onto(here: Here) -> None:
    """Merge an object from outside onto one that is there."""
    instance = here.some(Book, Doc, Memo, Parcel, Slot, Path, Coin, Place)
    values = here.values(type(instance))
    here.session.merge(type(instance)(**_handle(instance), **values))


@step("flush", weight=2)
def merge_version(here: Here) -> None:
    """Merge with the version the row has, as a form posted by a user does."""
    page = here.some(Page)
    here.session.merge(Page(id=page.id, version=page.version, **here.values(Page)))


# --- keys ---


@step("flush", weight=4)
def move(here: Here) -> None:
    """Give a natural key to another one."""
    path = here.some(Path)
    for name, value in here.new(Path).items():
        setattr(path, name, value)


@step("flush", weight=2)
def move_and_change(here: Here) -> None:
    """Change a natural key and another column at once."""
    path = here.some(Path)
    for name, value in (here.new(Path) | here.values(Path)).items():
        setattr(path, name, value)


@step("flush", weight=2)
def move_twice(here: Here) -> None:
    """Change a natural key twice, written both times."""
    path = here.some(Path)
    for _ in range(2):
        for name, value in here.new(Path).items():
            setattr(path, name, value)
        here.session.flush()


@step("flush", weight=2)
def hand_key_on(here: Here) -> None:
    """Change a natural key and give the old one to a new object, after a flush."""
    path = here.some(Path)
    old = path.path
    for name, value in here.new(Path).items():
        setattr(path, name, value)
    here.session.flush()
    here.session.add(Path(path=old, **here.values(Path)))


@step("flush", weight=2)
def hand_keys_on(here: Here) -> None:
    """Give one object's key to another, in one flush."""
    first, second = here.some(Path), here.some(Path)
    if first is second:
        raise Skip
    second_key = first.path
    for name, value in here.new(Path).items():
        setattr(first, name, value)
    second.path = second_key


@step("flush", weight=3)
def move_slot(here: Here) -> None:
    """Change part of a composite key."""
    slot = here.some(Slot)
    slot.hour = here.number(24)


@step("flush", weight=1)
def move_reading(here: Here) -> None:
    """Change a key that is neither number nor text."""
    reading = here.some(Reading)
    for name, value in here.new(Reading).items():
        setattr(reading, name, value)


@step("flush", weight=8)
def set_key_by_hand(here: Here) -> None:
    """Set a foreign key's column, not the relationship."""
    instance = here.some(*(cls for cls, _, _ in RAW_KEYS))
    name, target = next(
        (name, target) for cls, name, target in RAW_KEYS if isinstance(instance, cls)
    )
    other = here.maybe(target)
    if other is not None and other in here.session.new:
        here.session.flush()
    setattr(instance, name, None if other is None else _key(other))


def _key(instance: Any) -> Any:
    return getattr(instance, inspect(type(instance)).primary_key[0].key)


RAW_KEYS: tuple[tuple[Any, str, Any], ...] = (
    (Book, "shelf_id", Shelf),
    (Bottle, "crate_id", Crate),
    (Barrel, "cellar_id", Cellar),
    (Photo, "album_id", Album),
    (Company, "favourite_id", Contact),
    (Contact, "company_id", Company),
    (Employee, "boss_id", Employee),
    (City, "country_code", Country),
    (Product, "brand_code", Brand),
    (Reply, "ticket_id", Ticket),
    (File, "folder_id", Folder),
    (Post, "blog_id", Blog),
    (Node, "parent_id", Node),
)


@step("flush", weight=2)
def add_membership_by_keys(here: Here) -> None:
    """Add an association object by its columns only."""
    club, member = here.some(Club), here.some(Member)
    here.session.add(Membership(club_id=club.id, member_id=member.id, role="by keys"))


# --- what the database works out ---


@step("flush", weight=4)
def count_up(here: Here) -> None:
    """Let the database work a new value out."""
    book = here.some(Book)
    book.pages = Book.pages + 1


@step("flush", weight=4)
def work_out(here: Here) -> None:
    """The same on a row that has values which change by themselves."""
    instance: Any = here.stored(Doc, Memo)
    model = type(instance)
    if here.flip():
        here.session.expire(instance)
    instance.one = model.one + here.number(3)
    if here.flip():
        instance.body = func.upper("shout")


@step("flush", weight=2)
def work_out_in_subclass(here: Here) -> None:
    """The same in the table of a subclass."""
    employee = here.some(Employee)
    employee.salary = Employee.salary * 2


@step("flush", weight=2)
def insert_expression(here: Here) -> None:
    """Insert a value that the database works out."""
    key = here.new(Shelf)
    here.session.add(Shelf(**key, title=func.upper("title")))


@step("flush", weight=4)
def set_deferred(here: Here) -> None:
    """Set a column that is not loaded."""
    instance = here.some(Doc, Memo)
    instance.body = here.value(Doc, "body")


@step("flush", weight=2)
def set_deferred_back(here: Here) -> None:
    """Set a column that is not loaded, load it, and set it again."""
    instance = here.some(Doc, Memo)
    was = instance.body
    instance.body = here.value(Doc, "body")
    instance.body = was


# --- composite and changeable values ---


@step("flush", weight=2)
def move_point(here: Here) -> None:
    """Replace a value of two columns, or set one of the columns."""
    place = here.some(Place)
    if here.flip():
        place.start = Point(here.number(5), here.number(5))
    else:
        place.end_y = here.number(5)


@step("flush", weight=6)
def change_inside(here: Here) -> None:
    """Change tracked values in place."""
    parcel = here.some(Parcel)
    if parcel.tracked is not None:
        parcel.tracked["k"] = 5 + here.number(5)
        parcel.tracked.pop("l", None)
    if parcel.stops is not None:
        parcel.stops.append(here.number(5))
        if here.flip():
            parcel.stops.insert(0, here.number(5))
            parcel.stops.sort()


@step("flush", weight=2)
def change_inside_and_back(here: Here) -> None:
    """Change a tracked value in place, and back."""
    parcel = here.some(Parcel)
    if parcel.tracked is None:
        raise Skip
    parcel.tracked["z"] = 1
    del parcel.tracked["z"]


@step("flush", weight=2)
def change_untracked(here: Here) -> None:
    """Change an untracked value in place, and say so."""
    parcel = here.some(Parcel)
    if parcel.data is None:
        raise Skip
    parcel.data["n"] = here.number(5)
    flag_modified(parcel, "data")


@step("flush", weight=2)
def change_deep_inside(here: Here) -> None:
    """Change something deep inside a tracked value, and say so."""
    parcel = here.some(Parcel)
    if parcel.tracked is None:
        raise Skip
    parcel.tracked.setdefault("deep", [0]).append(here.number(5))
    parcel.tracked.changed()


@step("equal values", weight=2)
def change_to_equal(here: Here) -> None:
    """Change a value to one that is another for the database, and equal to it for Python."""
    parcel = here.some(Parcel)
    parcel.data = {"k": here.one_of(*((True,), (1,), (1.0,)))[0]}


@step("untracked", weight=2)
def change_silently(here: Here) -> None:
    """Change an untracked value in place without a word, so that it is never written."""
    parcel = here.some(Parcel)
    if parcel.data is None:
        raise Skip
    parcel.data["n"] = here.number(5)


@step("flush", weight=2)
def replace_tracked(here: Here) -> None:
    """Replace a tracked value, and change the new one in place."""
    parcel = here.some(Parcel)
    parcel.tracked = here.value(Parcel, "tracked")
    if parcel.tracked is not None:
        parcel.tracked["again"] = True


@step("flush", weight=2)
def hide(here: Here) -> None:
    """Change hidden fields."""
    account = here.some(Account)
    account.password = here.value(Account, "password")
    if here.flip():
        account.seen = here.number(9)


@step("flush", weight=2)
def make_coin(here: Here) -> None:
    """Make a dataclass with its defaults."""
    here.session.add(Coin(**here.new(Coin)))


@step("flush", weight=2)
def retype(here: Here) -> None:
    """Load objects by their base, and change what only the subclass has."""
    vehicle: Any = here.some(Vehicle)
    name = {"car": "doors", "truck": "load"}.get(vehicle.kind, "wheels")
    setattr(vehicle, name, here.value(type(vehicle), name))


@step("loose types", weight=3)
def set_loosely(here: Here) -> None:
    """Set columns to values of other types than the database gives back."""
    truck, parcel = here.some(Truck), here.some(Parcel)
    truck.load = here.one_of(3, 1.5, "2.25")
    parcel.price = here.one_of(7, 0.5)
    parcel.weight = here.number(3)
    parcel.fragile = here.one_of(0, 1)


# --- types that need something of their own ---


@step("pickle", weight=4)
def pickle(here: Here) -> None:
    """Add or change a value that is pickled."""
    if here.flip():
        here.session.add(make(here, Jar))
    else:
        here.some(Jar).content = here.value(Jar, "content")


@step("salted", weight=4)
def salt(here: Here) -> None:
    """Add or change a value that is never stored twice in the same way."""
    if here.flip():
        here.session.add(make(here, Safe))
    else:
        here.some(Safe).secret = here.value(Safe, "secret")
