"""A shop that has been open for a while: what is there, and who did what to it."""

from __future__ import annotations

from itertools import cycle

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from examples.common.databases import Databases
from examples.shop.models import Order, Product, Seller, User
from examples.shop.people import PEOPLE
from lifecycle import acting

OLD_USERS = [
    ("ada.moreau@example.org", "Ada Moreau"),
    ("jonas.weber@example.org", "Jonas Weber"),
    ("maria.del.carmen@example.org", "María del Carmen Ruiz"),
    ("tomasz@example.org", "Tomasz Zieliński"),
    ("prince@example.org", "Prince"),
]
NEW_USERS = [
    ("ingrid@example.org", "Ingrid", "Solberg"),
    ("kofi@example.org", "Kofi", "Mensah"),
]
SELLERS = [
    ("Moreau & Daughters", "Lyon", 0),
    ("Weber Werkzeug", "Bremen", 1),
    ("Casa Ruiz", "Sevilla", 2),
]
PRODUCTS = [
    ("Walnut chopping board", 4800, 14, 0),
    ("Linen apron", 3900, 30, 0),
    ("Copper saucepan", 12900, 5, 0),
    ("Hand plane No. 4", 15900, 3, 1),
    ("Beech mallet", 2450, 22, 1),
    ("Folding rule, 2 m", 1290, 80, 1),
    ("Marking gauge", 3390, 11, 1),
    ("Glazed tapas bowl", 1150, 120, 2),
    ("Olive oil, 1 l", 1790, 64, 2),
    ("Terracotta planter", 2890, 18, 2),
]


def seed(shop: Databases) -> int:
    """Fill an empty shop; returns how many records its log has then, or 0 if it was not empty."""
    with shop.sessions() as session:
        if session.scalar(select(func.count()).select_from(User)):
            return 0
    with as_("import", "the users of the old shop"), shop.sessions.begin() as session:
        session.add_all(
            User(email=email, full_name=name, schema_version=1) for email, name in OLD_USERS
        )
    with as_("ann", "opened an account"), shop.sessions.begin() as session:
        session.add_all(User(email=e, first_name=f, last_name=n) for e, f, n in NEW_USERS)
    _stock(shop)
    _sell(shop)
    _change(shop)
    return sum(1 for _ in shop.lifecycle.history.find())


def as_(person: str, reason: str) -> acting:
    """Somebody of the shop acts."""
    return acting(person, label=PEOPLE[person], reason=reason, source="seed")


def _stock(shop: Databases) -> None:
    with as_("ann", "our first sellers"), shop.sessions() as session:
        owners = session.scalars(select(User).order_by(User.id)).all()
        sellers = [
            Seller(name=name, city=city, owner_id=owners[owner].id).save()
            for name, city, owner in SELLERS
        ]
        for name, price, stock, seller in PRODUCTS:
            Product(name=name, price=price, stock=stock, seller=sellers[seller]).save()


def _sell(shop: Databases) -> None:
    with shop.sessions() as session:
        users = session.scalars(select(User.id).order_by(User.id)).all()
    products = list(Product.objects.order_by("name"))
    for n, (user, product) in enumerate(zip(cycle(users), [*products, *products], strict=False)):
        quantity = 1 + n % 3
        with as_("web", "checkout"), shop.sessions.begin() as session:
            session.add(
                Order(user_id=user, product=product, quantity=quantity, price=product.price)
            )
            product.update(dec__stock=1)


def _change(shop: Databases) -> None:
    with as_("ann", "new prices of the season"):
        for product in Product.objects(price__gt=4000):
            product.price += 500
            product.save()
    for status, upto in (("paid", 15), ("shipped", 11), ("delivered", 6)):
        with as_("bob", "the daily round"), shop.sessions.begin() as session:
            for order in _first(session, upto):
                order.status = status
    with as_("ann", "a typing error"):
        product = Product.objects(name="Olive oil, 1 l").get()
        product.name, product.price = "Olive oil, 0.75 l", 1590
        product.save()
    with as_("ann", "no longer made"):
        Product.objects(name="Marking gauge").get().delete()
    with as_("bob", "ordered twice"), shop.sessions.begin() as session:
        session.delete(session.get(Order, 18))
    with as_("bob", "wrote to us"), shop.sessions.begin() as session:
        user = session.get_one(User, 2)
        user.email = "weber.jonas@example.org"


def _first(session: Session, count: int) -> list[Order]:
    return list(session.scalars(select(Order).order_by(Order.id).limit(count)))
