"""What each page says."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from lifecycle.audit.store import Query
from lifecycle.changes import (
    ABSENT,
    MASKED,
    UNKNOWN,
    Change,
    ChangeSet,
    Operation,
    SetEdit,
)
from tests.ui.conftest import Log, delete, insert, update

Browse = Callable[..., TestClient]


def words(text: str) -> str:
    """What a reader sees of a page, without its tags."""
    body = text[text.index("<main") :].partition("</main>")[0].replace("<wbr>", "")
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def see(client: TestClient, path: str, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status
    assert response.text.count("<h1") == 1
    return words(response.text)


@pytest.fixture
def shop(log: Log) -> Log:
    """A customer who marries, an order that is placed, paid and deleted."""
    log.write(
        insert("shop.Customer", "17", label="Ada Byron", name="Ada Byron", email="ada@example.org"),
        insert("shop.Order", "1042", label="Order 1042", total=5, status="draft"),
        reason="signed up",
        source="web",
        request_id="req-1",
        context={"ip": "203.0.113.7"},
        actor_label="Ann Weber",
    )
    log.write(
        update("shop.Customer", "17", label="Ada Lovelace", name=("Ada Byron", "Ada Lovelace")),
        actor="bob",
        reason="marriage",
    )
    log.write(
        update("shop.Order", "1042", label="Order 1042", status=("draft", "paid")), actor=None
    )
    log.write(delete("shop.Order", "1042", label="Order 1042", total=5, status="paid"), actor="bob")
    return log


# --- feed -----------------------------------------------------------------------------------


def test_the_feed_tells_who_changed_what_when_and_why(shop: Log, browse: Browse) -> None:
    """Newest first, each revision once with its records below it."""
    text = see(browse(shop), "/")
    assert "2026-03-01 09:14:00 bob marriage updated shop.Customer Ada Lovelace 17" in text
    assert "name removed Ada Byron → added Ada Lovelace" in text
    assert "2026-03-01 09:07:00 Ann Weber web signed up 2 changes" in text
    assert text.index("marriage") < text.index("signed up")
    assert "no actor" in text


def test_the_feed_shows_three_fields_and_unfolds_the_rest(log: Log, browse: Browse) -> None:
    """What does not fit is one click away, without a script."""
    log.write(insert("shop.Order", "1", **{f"field_{i}": i for i in range(30)}))
    text = browse(log).get("/").text
    assert "field_2 2" in words(text.partition("<details>")[0])
    assert "field_3" not in words(text.partition("<details>")[0])
    assert "<summary>+27 more</summary>" in text
    assert "and 7 more fields" in words(text)


@pytest.mark.parametrize(
    ("query", "found", "missing"),
    [
        ("entity=shop.Customer", "Ada Lovelace", "Order 1042"),
        ("entity=shop.Order&key=1042", "Order 1042", "Ada"),
        ("actor=bob", "Order 1042", "signed up"),
        ("operation=insert", "signed up", "marriage"),
        ("request_id=req-1", "signed up", "marriage"),
        ("since=2026-03-01T09:20", "deleted", "marriage"),
        ("until=2026-03-01T09:08", "signed up", "marriage"),
        ("field=status", "Order 1042", "marriage"),
        ("field=name", "Ada Lovelace", "Order 1042 1042 status"),
        ("field=status%3Dpaid", "Order 1042", "signed up"),
        ("text=lovelace", "marriage", "Order 1042"),
        ("text=SIGNED", "Ada Byron", "marriage"),
        ("text=signed&text=order", "Order 1042", "marriage"),
        ("reason=marri", "Ada Lovelace", "Order 1042"),
        ("source=web", "signed up", "marriage"),
        ("no=actor", "no actor", "marriage"),
        ("-actor=bob", "signed up", "marriage"),
        ("actor=bob&actor=eve", "marriage", "signed up"),
        ("-operation=insert&-operation=delete", "marriage", "signed up"),
        ("-no=source", "signed up", "marriage"),
        ("q=field:name+-operation:insert", "marriage", "signed up"),
    ],
)
def test_every_filter_narrows_the_feed(
    shop: Log, browse: Browse, query: str, found: str, missing: str
) -> None:
    """A filter in the address shows what matches, hides the rest, and can be taken away."""
    text = see(browse(shop), f"/?{query}")
    assert found in text
    assert missing not in text
    assert "Remove the filter" in text


def test_the_page_of_an_entity_is_its_part_of_the_feed(shop: Log, browse: Browse) -> None:
    """An entity's name leads to its changes."""
    text = see(browse(shop), "/o/shop.Customer/")
    assert "Ada Lovelace" in text
    assert "Order 1042" not in text


def test_an_empty_store_says_how_to_begin(log: Log, browse: Browse) -> None:
    """Nothing recorded is worded, and so is nothing found."""
    client = browse(log)
    assert "Nothing recorded yet" in see(client, "/")
    assert "lifecycle.install(Session)" in see(client, "/")
    assert "No change matches all of these filters" in see(client, "/?actor=nobody")
    assert "There is nothing further" in see(client, "/?older_than=1.0")


# --- object ---------------------------------------------------------------------------------


def test_an_object_shows_its_timeline_its_newest_version_and_its_state(
    shop: Log, browse: Browse
) -> None:
    """What the last change did, and every value as it is after it."""
    text = see(browse(shop), "/o/shop.Customer/17")
    assert "last changed 2026-03-01 09:14:00 by bob" in text
    assert "created 2026-03-01 09:07:00 by Ann Weber" in text
    assert "Sun 1 Mar 2026 09:14:00 updated bob name 09:07:00 created Ann Weber" in text
    state = text.partition("The object after this change")[2]
    assert "name Ada Lovelace email ada@example.org" in state


def test_a_version_in_the_address_is_compared_and_shown_as_it_was(
    shop: Log, browse: Browse
) -> None:
    """An older version has its own comparison and the state of that time."""
    client = browse(shop)
    timeline = client.get("/o/shop.Customer/17").text.partition("</section>")[0]
    first = re.findall(r"v=([0-9a-f-]+\.\d+)", timeline)[-1]
    text = see(client, f"/o/shop.Customer/17?v={first}")
    state = text.partition("The object after this change")[2]
    assert "name Ada Byron" in state
    assert "Lovelace" not in state


def test_a_deleted_object_keeps_its_page(shop: Log, browse: Browse) -> None:
    """It says it is gone, and how it was before."""
    text = see(browse(shop), "/o/shop.Order/1042")
    assert "deleted 2026-03-01 09:28:00 by bob" in text
    assert "status paid" in text.partition("The object before it was deleted")[2]


def test_what_the_database_did_by_itself_is_told(log: Log, browse: Browse) -> None:
    """On the page of the record and on that of the object; others have no cause."""
    log.write(insert("shop.Line", "1", sku="A-7"))
    (record,) = log.write(delete("shop.Line", "1", cause="cascade", sku="A-7"))
    client = browse(log)
    assert "Cause the database, through a foreign key" in see(client, f"/r/{record.id}")
    assert '"cause": "cascade"' in see(client, f"/r/{record.id}")
    assert "Cause: the database, through a foreign key" in see(client, "/o/shop.Line/1")
    (other,) = log.write(insert("shop.Line", "2", sku="B"))
    assert "the database" not in see(client, f"/r/{other.id}") + see(client, "/o/shop.Line/2")


def test_a_moved_object_is_followed_back_to_its_former_keys(log: Log, browse: Browse) -> None:
    """The new key shows the whole history, the old key leads to the new one."""
    log.write(insert("repo.File", "a", size=1, mode="x"))
    log.write(update("repo.File", "b", former_key="a"))
    log.write(update("repo.File", "c", former_key="b", size=(1, 2)))
    client = browse(log)
    text = see(client, "/o/repo.File/c")
    assert "key changed from b" in text
    assert "key changed from a" in text
    assert "created 2026-03-01 09:07:00" in text
    assert "size 2 mode x" in text.partition("The object after this change")[2]
    assert "moved to b" in see(client, "/o/repo.File/a")


def test_another_object_that_had_the_key_before_is_kept_apart(log: Log, browse: Browse) -> None:
    """A key used twice shows the present object, and a way to the one before."""
    log.write(insert("repo.File", "b", size=7))
    log.write(delete("repo.File", "b", size=7))
    log.write(insert("repo.File", "a", size=1))
    log.write(update("repo.File", "b", former_key="a"))
    client = browse(log)
    page = client.get("/o/repo.File/b").text
    assert "Another object had this key before" in words(page)
    assert "size 1" in words(page).partition("The object after this change")[2]
    link = re.search(r'href="([^"]*older_than[^"]*)">show its history', page)
    assert link is not None
    assert "size 7" in see(client, f"/o/repo.File/{unescape(link[1]).rpartition('/')[2]}")


def test_a_state_never_mixes_two_objects_of_one_key(log: Log, browse: Browse) -> None:
    """What happened before another object took the key says nothing about this one."""
    log.write(update("repo.File", "a", size=(1, 2), mode=("x", "y")))
    log.write(update("repo.File", "z", former_key="a"))
    log.write(update("repo.File", "a", size=(5, 6)))
    state = see(browse(log), "/o/repo.File/a").partition("The object after ")[2]
    assert "size 6" in state
    assert "mode" not in state


def test_a_state_that_does_not_reach_back_to_the_insert_says_so(log: Log, browse: Browse) -> None:
    """Edits of a value never seen leave it not known, instead of guessed."""
    log.write(
        update(
            "shop.Order",
            "1",
            {"tags": SetEdit(frozenset({"new"}), frozenset()), "address.zip": Change("1", "2")},
            total=(1, 2),
        )
    )
    text = see(browse(log), "/o/shop.Order/1")
    assert "do not reach back" in text
    assert "total 2 tags not known address not known" in text.partition("The object after")[2]


def test_a_change_that_does_not_fit_leaves_the_value_not_known(log: Log, browse: Browse) -> None:
    """Records that contradict each other cost one field, not the page."""
    log.write(insert("shop.Order", "1", tags="none", total=1))
    log.write(update("shop.Order", "1", {"tags": SetEdit(frozenset({"a"}), frozenset({"b"}))}))
    state = see(browse(log), "/o/shop.Order/1").partition("The object after ")[2]
    assert "tags not known total 1" in state


def test_a_field_that_was_removed_is_not_in_the_state(log: Log, browse: Browse) -> None:
    """A document's key that is gone leaves nothing behind."""
    log.write(insert("shop.Doc", "1", a={"x": 1, "y": 2}, b=5))
    log.write(update("shop.Doc", "1", {"a.x": Change(1, ABSENT)}, b=(5, ABSENT)))
    state = see(browse(log), "/o/shop.Doc/1").partition("The object after ")[2]
    assert state == 'this change The values of all fields then Field Value a {"y": 2}'


# --- field ----------------------------------------------------------------------------------


def test_a_field_tells_every_value_it_had(shop: Log, browse: Browse) -> None:
    """Newest first: the value, since when, by whom, why, and for how long."""
    client = browse(shop)
    assert 'href="../o/shop.Customer/17/f/name"' in client.get("/o/shop.Customer/17").text.replace(
        "../../o/", "../o/"
    )
    text = see(client, "/o/shop.Customer/17/f/name")
    assert "Ada Lovelace 2026-03-01 09:14:00 bob marriage" in text
    assert "Ada Byron 2026-03-01 09:07:00 Ann Weber signed up 7 min" in text
    assert text.index("Lovelace 2026") < text.index("Byron 2026")
    gone = see(client, "/o/shop.Order/1042/f/status")
    assert "no value 2026-03-01 09:28:00 bob" in gone
    assert "paid 2026-03-01 09:21:00 no actor 7 min" in gone


def test_a_field_is_told_as_far_as_the_records_reach(log: Log, browse: Browse) -> None:
    """What a first change found is told too, without a time; a statement leaves it not known."""
    log.write(update("shop.Order", "1", total=(3, 4), other=(1, 2)))
    log.write(
        {
            **update("shop.Order", "", total=(UNKNOWN, UNKNOWN)),
            "operation": Operation.BULK,
            "changes": ChangeSet({"total": Change(UNKNOWN, UNKNOWN)}, Operation.BULK),
        }
    )
    log.write(update("shop.Order", "1", other=(2, 3)))
    text = see(browse(log), "/o/shop.Order/1/f/total")
    assert "not known 2026-03-01 09:14:00 ann by a statement over many rows" in text
    assert "4 2026-03-01 09:07:00 ann 7 min" in text
    assert "3 before that not in these records" in text


def test_a_field_follows_its_object_over_its_keys_and_pages(
    log: Log, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move does not end its history, and older values are on the next page."""
    log.write(insert("repo.File", "a", size=0))
    for i in range(30):
        log.write(update("repo.File", "a", size=(i, i + 1)))
    log.write(update("repo.File", "b", former_key="a"))
    client = browse(log)
    text = see(client, "/o/repo.File/b/f/size")
    assert [f"{n} 2026" in text for n in (30, 15, 0)] == [True, True, True]
    monkeypatch.setattr("audit_ui.views.field.RECORDS", 10)
    monkeypatch.setattr("audit_ui.reading.DEEP", 10)
    page = client.get("/o/repo.File/b/f/size").text
    assert "20 2026" not in words(page)
    older = re.search(r'href="\.\./\.\./\.\./\.\./([^"]+)" rel="next"', page)
    assert older is not None
    assert "15 2026" in see(client, f"/{older[1]}")


def test_a_field_of_many_values_is_paged(log: Log, browse: Browse) -> None:
    """A hundred a page, each once, in order; records that do not touch it count for nothing."""
    log.write(insert("shop.Order", "1", total=0, other=0))
    for n in range(1, 251):
        log.write(update("shop.Order", "1", total=(n - 1, n)))
        log.write(update("shop.Order", "1", other=(n - 1, n)))
    client, address = browse(log), "/o/shop.Order/1/f/total"
    found: list[list[int]] = []
    while address:
        log.store.asked.clear()
        page = client.get(address).text
        assert len(log.store.asked) <= 3
        assert "before that" not in page
        found.append([int(one) for one in re.findall(r'"Value".*?>(\d+)<', page)])
        older = re.search(r'href="\.\./\.\./\.\./\.\./([^"]+)" rel="next"', page)
        address = f"/{older[1]}" if older else ""
    assert [one for page in found for one in page] == list(range(250, -1, -1))
    assert max(map(len, found)) == 100
    assert client.get("/o/shop.Order/1/f/total.json").json()["older_than"]


def test_a_field_nobody_recorded_is_not_found(shop: Log, browse: Browse) -> None:
    """An unknown field and an unknown object are told apart from an empty history."""
    client = browse(shop)
    assert "No value of 'nme' is recorded" in see(client, "/o/shop.Customer/17/f/nme", 404)
    assert "Nothing is recorded for" in see(client, "/o/shop.Customer/18/f/name", 404)


def test_each_change_of_a_hidden_value_is_told(log: Log, browse: Browse) -> None:
    """When a secret changed is known; what it was is not."""
    log.write(insert("app.User", "1", password=MASKED, name="x"))
    log.write(update("app.User", "1", password=(MASKED, MASKED)))
    log.write(update("app.User", "1", name=("x", "y")))
    text = see(browse(log), "/o/app.User/1/f/password")
    assert text.count("hidden 2026") == 2


# --- record, revision, actor ----------------------------------------------------------------


def test_a_record_tells_everything_about_one_change(shop: Log, browse: Browse) -> None:
    """Who, when, why, where, both values, its neighbours, and the raw record."""
    client = browse(shop)
    first = re.findall(r'href="\./(r/[^"]+)"', client.get("/?operation=insert").text)
    text = see(client, f"/{first[1]}")
    for expected in (
        "created Ada Byron 17",
        "signed up",
        "Who Ann Weber ann",
        "When 2026-03-01 09:07:00",
        "Source web",
        "Request req-1",
        ", change 1 ip 203.0.113.7",
        "email ada@example.org",
        "No earlier change of this object",
        "Next change \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} updated 2026-03-01 09:14:00",
        "In the same transaction created shop.Order Order 1042 1042",
        '"entity": "shop.Customer"',
        '"name": "Ada Byron"',
    ):
        assert expected in text, expected


def test_a_value_no_log_could_hold_is_shown_all_the_same(log: Log, browse: Browse) -> None:
    """A store in memory keeps any object; its record still has a page."""
    record = log.write(insert("app.Thing", "1", value=complex(1, 2)))[0]
    text = see(browse(log), f"/r/{record.id}")
    assert "value (1+2j)" in text
    assert "Change(old=ABSENT, new=(1+2j))" in text.partition("Raw record")[2]


def test_a_masked_value_is_nowhere_on_its_pages(log: Log, browse: Browse) -> None:
    """A secret shows that it changed, and nothing more."""
    record = log.write(update("app.User", "1", password=(MASKED, MASKED)))[0]
    text = see(browse(log), f"/r/{record.id}")
    assert "password changed (hidden)" in text


def test_a_revision_shows_everything_in_the_order_written(shop: Log, browse: Browse) -> None:
    """One transaction: its context, what it adds up to, and its records."""
    client = browse(shop)
    link = re.findall(r'href="\./(t/[^"]+)"', client.get("/?request_id=req-1").text)[0]
    text = see(client, f"/{link}")
    assert "2 changes, in the order written" in text
    assert "created 1 shop.Customer created 1 shop.Order" in text
    assert text.index("Ada Byron") < text.index("Order 1042")
    assert "ip 203.0.113.7" in text


def test_an_actor_shows_what_they_did_lately(shop: Log, browse: Browse) -> None:
    """Their changes, what those add up to, and from when to when they are."""
    text = see(browse(shop), "/a/bob")
    assert "first change 2026-03-01 09:14:00 last change 2026-03-01 09:28:00" in text
    assert "deleted 1 shop.Order updated 1 shop.Customer" in text
    assert "signed up" not in text


def test_an_actor_with_many_changes_is_summed_up_page_by_page(log: Log, browse: Browse) -> None:
    """The page says what its times and numbers are of."""
    for size in range(70):
        log.write(update("repo.File", "a", size=(size, size + 1)))
    client = browse(log)
    newest = see(client, "/a/ann")
    assert "last change 2026-03-01 17:10:00 this page goes back to 2026-03-01 11:27:00" in newest
    assert "on this page: updated 50 repo.File" in newest
    (older,) = re.findall(r'href="\.\./(a/\S+)" rel="next"', client.get("/a/ann").text)
    oldest = see(client, f"/{older}")
    assert "this page goes from 2026-03-01 09:07:00 to 2026-03-01 11:20:00" in oldest
    assert "on this page: updated 20 repo.File" in oldest


def test_help_explains_the_words(log: Log, browse: Browse) -> None:
    """The marks used on the pages are told on one of them."""
    text = see(browse(log), "/-/help")
    assert "NULL The database holds no value." in text


# --- what every page keeps to ---------------------------------------------------------------


def test_no_page_asks_more_than_three_questions_or_counts(log: Log, browse: Browse) -> None:
    """Bounded questions only: pages, single revisions and the names of entities."""
    for i in range(60):
        log.write(update("shop.Order", "1", former_key=f"old-{i}", total=(i, i + 1)))
        log.write(*(update("shop.Order", "2", total=(i, n)) for n in range(30)))
    client = browse(log)
    deep = log.write(*(insert("bulk.Row", str(n), n=n) for n in range(250)))[249]
    revision = deep.revision.id
    timeline = client.get("/o/shop.Order/2?older_than=3.0").text.partition("</section>")[0]
    oldest = re.findall(r"v=([^\"&]+)", timeline)[-1]
    paths = [
        "/",
        "/?entity=shop.Order&newer_than=4.0",
        "/o/shop.Order/",
        "/o/shop.Order/1",
        "/o/shop.Order/2",
        f"/o/shop.Order/2?v={oldest}",
        "/o/shop.Order/2?older_than=50.0",
        f"/r/{deep.id}",
        f"/r/{oldest}",
        f"/t/{revision}",
        f"/t/{revision}?newer_than={deep.position.seq}.249",
        "/a/ann",
        f"/o/shop.Order/2?v={oldest}&against=prev",
        "/o/shop.Order/2?at=2026-03-02",
        "/o/shop.Order/1/f/total",
        "/o/shop.Order/2/f/total",
    ]
    for path in paths:
        log.store.asked.clear()
        assert client.get(path).status_code == 200, path
        assert len(log.store.asked) <= 3, (path, log.store.asked)
        assert set(log.store.asked) <= {"page", "glimpses", "revision", "entities"}, path


def test_a_record_deep_in_a_large_revision_is_found(log: Log, browse: Browse) -> None:
    """Its page leads to its neighbours even where the revision is too long to list."""
    records = log.write(*(insert("bulk.Row", str(n), n=n) for n in range(250)))
    [later] = log.write(update("bulk.Row", "200", n=(200, 0)))
    client = browse(log)
    text = see(client, f"/r/{records[200].id}")
    assert "created 200" in text
    assert "See all of this transaction" in text
    assert client.get(f"/r/{records[200].id}.json").json()["next"] == later.id


def test_a_long_name_breaks_after_an_underscore(log: Log, browse: Browse) -> None:
    """Where the line is too short for it; what else is in the name stays text."""
    values = {"committed_at": ("x", "y"), "<a>_<b>": ("x", "y")}
    (record,) = log.write(update("app.Job", "1", **values), context={"client_version": "7"})
    client = browse(log)
    for path in ("/", "/o/app.Job/1", f"/r/{record.id}"):
        page = client.get(path).text
        assert "committed_<wbr>at" in page
        assert "&lt;a&gt;_<wbr>&lt;b&gt;" in page
    for path in (f"/r/{record.id}", f"/t/{record.revision.id}"):
        assert "client_<wbr>version" in client.get(path).text


def test_pages_can_be_read_by_everyone(shop: Log, browse: Browse) -> None:
    """Language, landmarks, skip link, headings, scopes and machine-readable times are there."""
    client = browse(shop)
    text = client.get("/o/shop.Customer/17").text
    for expected in (
        '<html lang="en">',
        '<a class="skip" href="#main">',
        '<main id="main"',
        '<th scope="col">',
        '<th scope="row">',
        '<time datetime="2026-03-01T09:14:00+00:00"',
        '<span class="sr">removed </span>',
        'aria-current="true"',
    ):
        assert expected in text, expected
    for control in re.findall(r"<(?:input|select)[^>]*>", client.get("/").text):
        assert "name=" in control
    assert client.get("/").text.count("<label>") == 10


def test_long_values_can_be_shown_whole(log: Log, browse: Browse) -> None:
    """What was cut says so and leads to the page with everything."""
    record = log.write(insert("shop.Doc", "1", body="x" * 5_000 + "END"))[0]
    client = browse(log)
    page = client.get(f"/r/{record.id}").text
    assert "xEND" not in page.partition("Raw record")[0]
    assert "… 2,003 more characters" in page
    assert f'href="../r/{record.id}?full=1">Show all' in page
    assert "xEND" in client.get(f"/r/{record.id}?full=1").text.partition("Raw record")[0]


def test_the_title_is_the_hosts(shop: Log, browse: Browse) -> None:
    """The pages carry the name the host gives them."""
    client = browse(shop, title="Shop audit")
    assert "<title>All changes · Shop audit</title>" in client.get("/").text


def test_health_is_one_word(log: Log, browse: Browse) -> None:
    """A monitor learns whether the store can be read, and nothing else."""
    response = browse(log, access=lambda *asked: False).get("/-/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_what_could_not_be_recorded_is_told(log: Log, browse: Callable[..., TestClient]) -> None:
    """In the feed, on the page of the object and on that of the change, and in its JSON."""
    broken = {**update("shop.Order", "1", total=(1, UNKNOWN)), "error": "field 'total' <broken>"}
    [record] = log.write(broken)
    client = browse(log)
    for path in ("/", "/o/shop.Order/1", f"/r/{record.id}"):
        page = client.get(path).text
        assert "ot recorded in full: " in page
        assert "field &#39;total&#39; &lt;broken&gt;" in page


# --- group ----------------------------------------------------------------------------------


def test_what_was_written_together_is_shown_together(log: Log, browse: Browse) -> None:
    """A revision's page has the others of its group; the group's page has all of them."""
    group = UUID("01936d5e-7c4a-7b61-9d43-0c5f2f6a8e11")
    rows = log.write(insert("shop.Order", "1", total=5), group=group, reason="checkout")[0]
    log.write(insert("shop.Order", "2", total=9), reason="another")
    documents = log.write(insert("doc.Invoice", "a", lines=[1]), group=group)[0]
    alone = log.write(insert("shop.Order", "3", total=5), group=UUID(int=7))[0]
    client = browse(log)
    text = see(client, f"/t/{rows.revision.id}")
    beside = text.partition("Written together with it")[2]
    assert "doc.Invoice" in beside
    assert "shop.Order" not in beside
    assert f'href="../g/{group}"' in client.get(f"/t/{rows.revision.id}").text
    assert "Written together with it" not in see(client, f"/t/{alone.revision.id}")
    whole = see(client, f"/g/{group}")
    assert "2 revisions, in the order written" in whole
    assert whole.index("checkout") < whole.rindex("doc.Invoice")
    assert "another" not in whole
    found = client.get(f"/g/{group}.json").json()
    assert [one["id"] for one in found["records"]] == [rows.id, documents.id]
    assert "is no group id" in see(client, "/g/nonsense", 404)
    assert "This group is not in the store" in see(client, f"/g/{UUID(int=8)}", 404)


def test_pages_of_revisions_and_groups_ask_three_questions_at_most(
    log: Log, browse: Browse
) -> None:
    """However much was written together."""
    group = UUID(int=9)
    rows = [log.write(insert("e", str(n), n=n), group=group)[0] for n in range(5)]
    client = browse(log)
    for path, most in ((f"/t/{rows[0].revision.id}", 3), (f"/g/{group}", 1), ("/-/coverage", 2)):
        log.store.asked.clear()
        assert client.get(path).status_code == 200
        assert 0 < len(log.store.asked) <= most, (path, log.store.asked)


def test_large_groups_have_pages(log: Log, browse: Browse) -> None:
    """A hundred changes each."""
    group = UUID(int=9)
    log.write(*(insert("shop.Order", str(n), total=n) for n in range(150)), group=group)
    client = browse(log)
    first = client.get(f"/g/{group}").text
    link = re.search(r'href="([^"]*newer_than[^"]*)"', first)
    assert link is not None
    assert "total 149" in see(client, "/" + unescape(link[1]).removeprefix("../"))


# --- timeline -------------------------------------------------------------------------------


def test_runs_of_small_changes_are_folded(log: Log, browse: Browse) -> None:
    """Three or more of one hand, minutes apart; not those the chosen version is among."""
    log.write(insert("shop.Doc", "1", text=0))
    drafts = [log.write(update("shop.Doc", "1", text=(n, n + 1)))[0] for n in range(4)]
    log.write(update("shop.Doc", "1", text=(4, 9)), actor="bob")
    log.write(update("shop.Doc", "1", text=(9, 5)))
    client = browse(log)
    page = client.get("/o/shop.Doc/1").text
    folded = page.partition("<details>")[2].partition("</details>")[0]
    assert "4 changes by ann , 09:14:00 to 09:35:00" in words(f"<main>{folded}</main>")
    assert folded.count("<li") == 4
    assert page.count("<details>") == 1
    opened = client.get(f"/o/shop.Doc/1?v={drafts[1].id}").text
    assert "<details>" not in opened


# --- counting -------------------------------------------------------------------------------


def test_changes_are_counted_only_when_asked(log: Log, browse: Browse) -> None:
    """Up to ten thousand, and not where it would need a look at each."""
    log.write(*(insert("shop.Row", str(n), n=n) for n in range(60)))
    client = browse(log)
    page = client.get("/?entity=shop.Row").text
    assert "changes match" not in page
    assert "count_at_most" not in log.store.asked
    link = re.search(r'href="([^"]*count=1[^"]*)">Count them', page)
    assert link is not None
    assert "60 changes match" in see(client, unescape(link[1]).removeprefix("."))
    assert client.get("/feed.json?count=1").json()["count"] == 60
    assert "Count them" not in client.get("/?field=n").text


def test_counting_stops(log: Log, browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than that is said to be more."""
    monkeypatch.setattr("audit_ui.views.feed.COUNTED", 10)
    log.write(*(insert("shop.Row", str(n), n=n) for n in range(20)))
    assert "10+ changes match" in see(browse(log), "/?count=1")


def test_nobody_and_a_source_lead_to_all_of_theirs(log: Log, browse: Browse) -> None:
    """As every name on a page leads to what else there is of it."""
    log.write(insert("shop.Order", "1", total=1), actor=None, source="night job")
    [record] = log.store.page(Query(), limit=1).records
    client = browse(log)
    for address in ("/", f"/r/{record.id}", f"/t/{record.revision.id}"):
        page = client.get(address).text
        root = "./" if address == "/" else "../"
        assert f'href="{root}?no=actor">no actor</a>' in page
        assert f'href="{root}?source=night+job">night job</a>' in page
