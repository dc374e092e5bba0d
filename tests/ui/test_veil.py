"""A reader without the right to a field finds its values nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

import audit_ui
from lifecycle.audit.store import Query
from lifecycle.changes import Change, ListEdit, SetEdit, Splice
from lifecycle.errors import ConfigurationError
from tests.ui.conftest import Log, delete, everyone, insert, update
from tests.ui.test_pages import see

Browse = Callable[..., TestClient]

SECRET = "SECRET"


def no_salaries(user: Any, action: str, subject: audit_ui.Subject) -> bool:
    return action != "view_field" or (subject.entity, subject.field) != ("hr.Person", "salary")


@pytest.fixture
def people(log: Log) -> Log:
    """A person whose salary is a text, a map, a list and a set in turn, and another with one."""
    log.write(
        insert("hr.Person", "1", name="Ann", salary=SECRET), insert("x.Y", "1", salary="open")
    )
    log.write(update("hr.Person", "1", salary=(SECRET, {"base": SECRET})))
    log.write(update("hr.Person", "1", {"salary.base": Change(SECRET, SECRET + "2")}))
    log.write(update("hr.Person", "1", salary=({"base": SECRET + "2"}, [1])))
    log.write(update("hr.Person", "1", {"salary": ListEdit((Splice(0, (), (SECRET,)),))}))
    log.write(update("hr.Person", "1", {"salary": SetEdit(frozenset({SECRET}), frozenset())}))
    log.write(delete("hr.Person", "1", name="Ann", salary=SECRET))
    return log


def test_a_hidden_field_is_hidden_everywhere(people: Log, browse: Browse) -> None:
    """On every page, in every form of it, in exports and in what a search finds."""
    records = list(people.store.page(Query(), limit=50))
    client = browse(people, access=no_salaries, field_rights=True)
    addresses = ["/", "/feed.json", "/feed.atom", "/export.csv", "/export.jsonl", "/a/ann"]
    addresses += ["/o/hr.Person/1", "/o/hr.Person/1.json", "/o/hr.Person/1/f/salary"]
    addresses += [f"/o/hr.Person/1/f/salary{end}" for end in (".json", "?full=1")]
    for record in records:
        addresses += [f"/r/{record.id}", f"/r/{record.id}.json?full=1", f"/t/{record.revision.id}"]
        addresses += [f"/t/{record.revision.id}?view=net"]
        if record.entity == "hr.Person":
            addresses += [f"/o/hr.Person/1?v={record.id}&against=now&full=1"]
    for address in addresses:
        response = client.get(address)
        assert response.status_code == 200, address
        assert SECRET not in response.text, address
    assert "No change matches" in see(client, f"/?field=salary={SECRET}")
    assert "salary" in see(client, "/o/hr.Person/1")
    assert "Ann" in see(client, "/o/hr.Person/1")
    assert "open" in see(client, "/o/x.Y/1")
    assert SECRET in browse(people).get("/").text


def test_each_field_is_asked_about_once_a_request(people: Log, browse: Browse) -> None:
    """However many records have it; an async callback is asked too."""
    asked: list[tuple[str | None, str | None]] = []

    async def access(user: Any, action: str, subject: audit_ui.Subject) -> bool:
        if action == "view_field":
            asked.append((subject.entity, subject.field))
        return True

    assert browse(people, access=access, field_rights=True).get("/").status_code == 200
    assert sorted(asked) == [("hr.Person", "name"), ("hr.Person", "salary"), ("x.Y", "salary")]


def test_fields_are_not_asked_about_unless_wanted(people: Log, browse: Browse) -> None:
    """A callback that knows of pages alone goes on as before."""
    asked: list[str] = []

    def access(user: Any, action: str, subject: audit_ui.Subject) -> bool:
        asked.append(action)
        return True

    browse(people, access=access).get("/")
    assert asked == ["view"]


def test_field_rights_need_somebody_to_ask(log: Log) -> None:
    """Else they would hide nothing, or everything."""
    with pytest.raises(ConfigurationError, match="field_rights"):
        audit_ui.create_app(log.store, local_only=True, field_rights=True)
    assert audit_ui.create_app(log.store, access=everyone, field_rights=True)
