"""The example shop: what it is filled with, its pages, its history, its command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pymongo import MongoClient
from sqlalchemy import select
from starlette.testclient import TestClient

from examples.common.databases import Databases
from examples.shop.models import Order, Product, Seller, User
from examples.shop.seed import OLD_USERS, PRODUCTS, seed
from examples.shop.web import create_app
from examples.shop.workspace import open_shop
from tests.servers import MongoServer, unique_name

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shop(
    mongo_server: MongoServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Databases]:
    """A shop that has been filled; what tests do to it adds up."""
    name = unique_name()
    mongodb = urlsplit(mongo_server.uri)._replace(path=f"/{name}").geturl()
    database = f"sqlite:///{tmp_path_factory.mktemp('shop') / 'shop.sqlite'}"
    with open_shop(database, mongodb) as shop:
        assert seed(shop) > 90
        yield shop
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_server.uri)
    client.drop_database(name)
    client.close()


@pytest.fixture(scope="module")
def client(shop: Databases) -> Iterator[TestClient]:
    with TestClient(create_app(shop)) as client:
        yield client


def product(name: str) -> Any:
    """The product of that name."""
    return Product.objects.get(name=name)


def send(client: TestClient, path: str, **form: str) -> str:
    """Send a form; returns what the shop says to it."""
    answer = client.post(path, data=form, follow_redirects=False)
    assert answer.status_code == 303
    return parse_qs(urlsplit(answer.headers["location"]).query)["message"][0]


def newest(shop: Databases, entity: str) -> Any:
    """The last record of a model."""
    return next(shop.lifecycle.history.find(entity))


def test_the_log_agrees_with_both_databases(shop: Databases) -> None:
    """Row by row and document by document; filling it again does nothing."""
    compared = shop.lifecycle.evidence.compare()
    assert not compared.differences
    assert compared.objects > 35
    assert seed(shop) == 0


def test_each_side_refers_to_the_other(shop: Databases) -> None:
    """Rows to documents, documents to rows, and back; nothing dangles."""
    with shop.sessions() as session:
        order = session.scalars(select(Order).order_by(Order.id)).first()
        assert order is not None
        assert order.product is not None
        assert order.id in [one.id for one in order.product.orders]
        owner = session.get_one(User, 1)
        assert [one.name for one in owner.sellers] == ["Moreau & Daughters"]
    assert Seller.objects.get(name="Weber Werkzeug").owner.last_name == "Weber"


PAGES = ["/products", "/orders", "/users", "/users/1", "/orders/1", "/audit/"]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers(client: TestClient, path: str) -> None:
    """And every link to the history on it leads to a page."""
    page = client.get(path)
    assert page.status_code == 200
    links = set(re.findall(r'href="(/audit/o/[^"]+)"', page.text))
    assert links or path == "/audit/"
    for link in sorted(links)[:3]:
        assert client.get(link).status_code == 200


def test_pages_of_documents_answer(client: TestClient) -> None:
    """With their orders, which are rows, and their last changes."""
    mallet = product("Beech mallet")
    page = client.get(f"/products/{mallet.id}").text
    (order,) = list(mallet.orders)[:1]
    assert f"Order {order.id}</a>" in page
    assert 'href="/audit/r/' in page
    assert "Weber" in client.get(f"/sellers/{mallet.seller.id}").text
    assert client.get("/products/x").status_code == 404
    assert client.get("/orders/999").status_code == 404


def test_a_change_is_recorded_as_the_doing_of_who_was_chosen(
    shop: Databases, client: TestClient
) -> None:
    """With the reason that was given."""
    board = product("Walnut chopping board")
    assert client.post("/acting", data={"person": "bob", "back": "/"}).status_code == 200
    form = {"name": " Walnut board ", "price": "51.50", "stock": "9", "reason": "<b>walnut</b>"}
    assert send(client, f"/products/{board.id}/edit", **form) == "Saved."
    record = newest(shop, "shop.Product")
    assert (record.revision.actor, record.revision.reason) == ("bob", "<b>walnut</b>")
    assert record.changes.new("name") == "Walnut board"
    assert record.changes.new("priced_by") == record.changes.new("updated_by") == "bob"
    page = client.get(f"/products/{board.id}").text
    assert "€ 51.50" in page
    assert "<b>walnut" not in page
    client.post("/acting", data={"person": "ann", "back": "/"})
    assert client.post("/acting", data={"person": "eve"}).status_code == 400


def test_an_order_writes_to_both_databases_under_one_request(
    shop: Databases, client: TestClient
) -> None:
    """The row and the document that it refers to."""
    bowl = product("Glazed tapas bowl")
    stock = bowl.stock
    assert send(client, f"/products/{bowl.id}/order", user="1", quantity="2") == "Saved."
    bowl.reload()
    assert bowl.stock == stock - 2
    order = newest(shop, "shop.Order")
    found = shop.lifecycle.history.find(request_id=order.revision.request_id)
    assert {one.entity for one in found} == {"shop.Order", "shop.Product"}
    refused = send(client, f"/products/{bowl.id}/order", user="1", quantity="9999")
    assert refused.startswith("That was refused: there are")


def test_users_of_the_first_version_are_shown_and_saved_with_two_names(
    shop: Databases, client: TestClient
) -> None:
    """Showing them writes nothing; a change brings the migration along."""
    (before,) = shop.lifecycle.migrations.versions(User)
    assert before.counts == {1: len(OLD_USERS) - 1, 2: 3}
    assert "<td>María del Carmen</td><td>Ruiz</td>" in client.get("/users").text
    form = {"first_name": "María", "last_name": "Ruiz", "email": "maria@example.org"}
    assert send(client, "/users/3/edit", **form) == "Saved."
    record = newest(shop, "shop.User")
    assert record.cause == "migration"
    assert record.changes.old("full_name") == "María del Carmen Ruiz"
    assert record.changes.new("first_name") == "María"
    (after,) = shop.lifecycle.migrations.versions(User)
    assert after.behind == before.behind - 1


def test_what_is_deleted_is_hidden_and_can_be_brought_back(
    shop: Databases, client: TestClient
) -> None:
    """A document and a row; the log says who deleted it."""
    gauge = shop.lifecycle.history.find("shop.Product", operation="delete").__next__()
    assert gauge.revision.reason == "no longer made"
    assert len(Product.objects) == len(PRODUCTS) - 1
    gone = client.get("/products").text.partition("Taken off the shelf")[2]
    assert re.findall(r"/products/(\w+)/undelete", gone) == [gauge.key]
    assert send(client, f"/products/{gauge.key}/undelete") == "Saved."
    assert len(Product.objects) == len(PRODUCTS)
    assert send(client, "/orders/17/delete", reason="test") == "Saved."
    assert client.get("/orders/17").status_code == 404
    assert newest(shop, "shop.Order").operation == "delete"
    assert send(client, "/orders/17/undelete") == "Saved."
    assert client.get("/orders/17").status_code == 200


def test_what_must_not_be_is_refused_with_a_reason(shop: Databases, client: TestClient) -> None:
    """By a hook, by a reference from the other database, by a form of another site."""
    said = send(client, "/orders/1/status", status="placed")
    assert "refused to update shop.Order 1: it has been delivered" in said
    with shop.sessions() as session:
        owner = session.scalars(select(User).where(User.email.like("prince%"))).one()
        seller = Seller(name="Prince's", owner_id=owner.id).save()
        for order in owner.orders:
            session.delete(order)
        session.commit()
        identifier = owner.id
    said = send(client, f"/users/{identifier}/delete")
    assert str(seller.id) in said
    with shop.sessions() as session:
        assert session.get(User, identifier) is not None
    foreign = {"sec-fetch-site": "cross-site"}
    assert client.post("/orders/1/delete", headers=foreign).status_code == 403
    assert client.get("/orders", headers={"host": "evil.example"}).status_code == 400


def test_the_log_still_agrees_after_all_that(shop: Databases) -> None:
    """And when the rest has been migrated."""
    assert shop.lifecycle.migrations.run().left == 0
    assert shop.lifecycle.evidence.compare().agrees


def test_the_command_fills_the_shop_opens_it_and_ends(tmp_path: Path) -> None:
    """Its address is printed; a signal ends it, and the MongoDB that it started."""
    command = [sys.executable, "-m", "examples.shop", "demo", "--port", "0"]
    with subprocess.Popen(
        [*command, "--data", str(tmp_path)],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            assert lines[0].startswith("Filled the shop: ")
            assert lines[1].endswith("with the log: 0 differences.\n")
            address = lines[2].split()[-1]
            with urllib.request.urlopen(f"{address}products", timeout=10) as page:
                assert b"Walnut chopping board" in page.read()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
