"""The shop's own pages, with the history mounted beside them and linked from every object.

The handlers do what any application's do. What makes the history is not in them, but in the one
block of `acting` around each change.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from bson import ObjectId
from bson.errors import InvalidId
from mongoengine.errors import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

import audit_ui
from examples.common.databases import Databases
from examples.shop.models import STATUSES, Order, Product, Seller, User
from examples.shop.people import CHOICE, PEOPLE
from lifecycle import LifecycleError, acting
from lifecycle.behaviours import undelete, with_deleted

HERE = Path(__file__).parent
HISTORY = "/audit"
_COOKIE = "acting"
_HOSTS = ["127.0.0.1", "localhost", "testserver"]
_VIEWS = {
    "Prices": "field:price operation:update",
    "Migrated users": "entity:shop.User field:first_name",
    "Removed": "operation:delete",
}

Form = dict[str, str]
Work = Callable[[Session, Form, str], str]
"""Changes something as a form asks, of the object in the address; returns where to go on."""


class Pages:
    """The pages of one shop."""

    def __init__(self, shop: Databases) -> None:
        self.shop = shop
        self.templates = Jinja2Templates(HERE / "templates")
        history = audit_ui.Embedded(shop.lifecycle, at=HISTORY)
        self.templates.env.globals |= {
            "history_url": history.url_for_history,
            "history_of": history.history_fragment,
            "actor_url": history.url_for_actor,
            "people": {name: PEOPLE[name] for name in CHOICE},
            "names": PEOPLE,
            "statuses": STATUSES,
        }
        self.templates.env.filters["money"] = lambda cents: f"{cents / 100:,.2f}"

    def routes(self) -> list[Route | Mount]:
        """Every page, and every change."""
        return [
            Route("/", lambda request: RedirectResponse("/products")),
            Route("/products", self.products),
            Route("/products/{id}", self.product),
            Route("/orders", self.orders),
            Route("/orders/{id:int}", self.order),
            Route("/users", self.users),
            Route("/users/{id:int}", self.user),
            Route("/sellers/{id}", self.seller),
            Route("/acting", self.choose, methods=["POST"]),
            self._change("/products/{id}/edit", edit_product),
            self._change("/products/{id}/order", place_order),
            self._change("/products/{id}/delete", delete_product),
            self._change("/products/{id}/undelete", undelete_product),
            self._change("/orders/{id}/status", set_status),
            self._change("/orders/{id}/delete", delete_order),
            self._change("/orders/{id}/undelete", undelete_order),
            self._change("/users/{id}/edit", edit_user),
            self._change("/users/{id}/delete", delete_user),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]

    # --- looking ---

    def products(self, request: Request) -> Response:
        found = list(Product.objects.order_by("name"))
        gone = list(with_deleted(Product.objects(deleted_at__exists=True)).order_by("name"))
        return self._page(request, "products.html", products=found, gone=gone)

    def product(self, request: Request) -> Response:
        product = _product(request.path_params["id"])
        with self.shop.sessions() as session:
            users = session.scalars(select(User).order_by(User.id)).all()
            return self._page(request, "product.html", product=product, users=users)

    def orders(self, request: Request) -> Response:
        with self.shop.sessions() as session:
            query = select(Order).options(joinedload(Order.user)).order_by(Order.id.desc())
            orders = session.scalars(query).all()
            gone = session.scalars(with_deleted(query.where(Order.deleted_at.is_not(None)))).all()
            return self._page(request, "orders.html", orders=orders, gone=gone)

    def order(self, request: Request) -> Response:
        with self.shop.sessions() as session:
            order = _order(session, request.path_params["id"])
            return self._page(request, "order.html", order=order)

    def users(self, request: Request) -> Response:
        with self.shop.sessions() as session:
            users = session.scalars(select(User).order_by(User.id)).all()
            (versions,) = self.shop.lifecycle.migrations.versions(User)
            return self._page(request, "users.html", users=users, versions=versions)

    def user(self, request: Request) -> Response:
        with self.shop.sessions() as session:
            user = _user(session, request.path_params["id"])
            return self._page(request, "user.html", user=user)

    def seller(self, request: Request) -> Response:
        seller = _document(Seller.objects, request.path_params["id"])
        products = list(Product.objects(seller=seller).order_by("name"))
        return self._page(request, "seller.html", seller=seller, products=products)

    def _page(self, request: Request, template: str, **context: Any) -> Response:
        """A page; rendered here, while the session is open."""
        context |= {
            "acting": who_acts(request.scope),
            "here": request.url.path,
            "message": request.query_params.get("message", "")[:300],
        }
        return self.templates.TemplateResponse(request, template, context)

    # --- changing ---

    async def choose(self, request: Request) -> Response:
        """Choose who acts from now on."""
        form = await request.form()
        person, back = str(form.get("person", "")), str(form.get("back", "/"))
        if person not in CHOICE or _is_foreign(request):
            raise HTTPException(400, "nobody of that name")
        response = RedirectResponse(back if _is_local(back) else "/", 303)
        response.set_cookie(_COOKIE, person, httponly=True, samesite="lax")
        return response

    def _change(self, path: str, work: Work) -> Route:
        async def change(request: Request) -> Response:
            if _is_foreign(request):
                raise HTTPException(403, "this came from another site")
            form = {name: str(value).strip() for name, value in (await request.form()).items()}
            return await run_in_threadpool(self._carry_out, request, work, form)

        return Route(path, change, methods=["POST"])

    def _carry_out(self, request: Request, work: Work, form: Form) -> Response:
        person = who_acts(request.scope)
        who = acting(
            person,
            label=PEOPLE[person],
            reason=form.pop("reason", "")[:300] or None,
            source="shop",
            request_id=uuid4().hex,
        )
        back = request.url.path.rpartition("/")[0]
        try:
            with who, self.shop.sessions.begin() as session:
                to, message = work(session, form, request.path_params["id"]), "Saved."
        except (LifecycleError, ValidationError, ValueError) as error:
            to, message = back, f"That was refused: {error}"
        return RedirectResponse(f"{to}?{urlencode({'message': message})}", 303)


# --- what the forms do ---


def edit_product(session: Session, form: Form, id: str) -> str:
    product = _product(id)
    product.name = form["name"]
    product.price = round(float(form["price"]) * 100)
    product.stock = int(form["stock"])
    product.save()
    return f"/products/{id}"


def place_order(session: Session, form: Form, id: str) -> str:
    product, quantity = _product(id), int(form["quantity"])
    user = _user(session, form["user"])
    # The document first: a row that is written keeps others from SQLite until it is committed, and
    # the log is there too.
    if quantity < 1 or not product.modify({"stock__gte": quantity}, dec__stock=quantity):
        raise ValueError(f"there are {product.stock} in stock")
    order = Order(user=user, product=product, quantity=quantity, price=product.price)
    session.add(order)
    session.flush()
    return f"/orders/{order.id}"


def delete_product(session: Session, form: Form, id: str) -> str:
    _product(id).delete()
    return "/products"


def undelete_product(session: Session, form: Form, id: str) -> str:
    undelete(_document(with_deleted(Product.objects), id)).save()
    return f"/products/{id}"


def set_status(session: Session, form: Form, id: str) -> str:
    if form["status"] not in STATUSES:
        raise ValueError(f"{form['status']!r} is no status of an order")
    _order(session, id).status = form["status"]
    return f"/orders/{id}"


def delete_order(session: Session, form: Form, id: str) -> str:
    session.delete(_order(session, id))
    return "/orders"


def undelete_order(session: Session, form: Form, id: str) -> str:
    order = session.scalar(with_deleted(select(Order).where(Order.id == int(id))))
    undelete(_there(order))
    return f"/orders/{id}"


def edit_user(session: Session, form: Form, id: str) -> str:
    user = _user(session, id)
    user.first_name, user.last_name = form["first_name"], form["last_name"]
    user.email = form["email"]
    return f"/users/{id}"


def delete_user(session: Session, form: Form, id: str) -> str:
    user = _user(session, id)
    if user.orders:
        raise ValueError("there are orders of theirs")
    session.delete(user)
    return "/users"


# --- finding ---


def _product(id: str) -> Any:
    return _document(Product.objects, id)


def _document(objects: Any, id: str) -> Any:
    try:
        return _there(objects.filter(pk=ObjectId(id)).first())
    except InvalidId:
        raise HTTPException(404) from None


def _order(session: Session, id: Any) -> Order:
    return _there(session.get(Order, int(id)))


def _user(session: Session, id: Any) -> User:
    return _there(session.get(User, int(id)))


def _there(found: Any) -> Any:
    if found is None:
        raise HTTPException(404)
    return found


# --- who acts ---


def who_acts(scope: Any) -> str:
    """Who was chosen to act; the owner, as long as nobody was."""
    person = Request(scope).cookies.get(_COOKIE)
    return person if person in CHOICE else CHOICE[0]


def _is_foreign(request: Request) -> bool:
    """Whether a browser says that a form is of another site."""
    return request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def _is_local(address: str) -> bool:
    return address.startswith("/") and not address.startswith(("//", "/\\"))


def create_app(shop: Databases) -> Starlette:
    """The shop with its history, for this machine alone: there is no login."""
    history = audit_ui.create_app(
        shop.lifecycle,
        access=lambda user, action, subject: True,
        user=who_acts,
        actor=lambda user: user,
        title="History of the shop",
        views=_VIEWS,
    )
    return Starlette(
        routes=[*Pages(shop).routes(), Mount(HISTORY, history)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)],
    )
