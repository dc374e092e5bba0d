"""Documents whose change the log cannot hold: recorded as far as it goes, and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy import Engine

from lifecycle import UNKNOWN, Lifecycle, audited
from lifecycle.audit.records import Record
from lifecycle.changes import ABSENT, Change
from lifecycle.errors import RecordingError, UnrecordedWriteWarning
from lifecycle.faults import OnError

SECRET = "s3cret"
WHY = "label cannot be recorded: making it raised LookupError; correct @audited(label=...)"


def broken(document: Any) -> str:
    if document.breaks:
        raise LookupError(SECRET)
    return "fine"


@audited(label=broken)
class Labelled(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    breaks = fields.BooleanField()


class Anything(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    value = fields.DynamicField()


@pytest.fixture(params=["fail", "report"])
def on_error(request: pytest.FixtureRequest) -> OnError:
    """Each policy."""
    policy: OnError = request.param
    return policy


@pytest.fixture
def lifecycle(mongo: object, on_error: OnError, sqlite_engine: Engine) -> Iterator[Lifecycle]:
    """A Lifecycle with that policy, whose store encodes what it is given."""
    lifecycle = Lifecycle(store=sqlite_engine, on_error=on_error)
    lifecycle.create_tables(sqlite_engine)
    lifecycle.install(mongoengine)
    yield lifecycle
    lifecycle.uninstall(mongoengine)


Records = Callable[[], list[Record]]


@pytest.fixture
def records(lifecycle: Lifecycle) -> Records:
    """Everything recorded, oldest first."""
    return lambda: list(lifecycle.history.find(newest_first=False))


def test_a_label_that_cannot_be_made(records: Records, on_error: OnError) -> None:
    """The document is not written then, and the error says so; or it is recorded without it."""
    one = Labelled(name="a", breaks=True)
    if on_error == "fail":
        with pytest.raises(RecordingError) as raised:
            one.save()
        assert str(raised.value).startswith(
            "Labelled a has not been written (insert), for it could not be recorded: "
            f"Labelled a: {WHY}"
        )
        assert SECRET not in str(raised.value)
        assert records() == []
    else:
        with pytest.warns(UnrecordedWriteWarning, match="Labelled a is recorded, but label is not"):
            one.save()
        [record] = records()
        assert (record.label, record.error) == (None, WHY)
        assert record.changes["breaks"] == Change(ABSENT, True)
    assert Labelled.objects.count() == (on_error == "report")


def test_a_label_that_cannot_be_made_of_a_document_to_be_deleted(
    records: Records, on_error: OnError
) -> None:
    """It is asked before the document is deleted, which then does not happen."""
    one = Labelled(name="a", breaks=False).save()
    one.breaks = True
    if on_error == "fail":
        with pytest.raises(RecordingError, match=r"^Labelled a: label cannot be recorded"):
            one.delete()
        assert Labelled.objects.count() == 1
        assert len(records()) == 1
    else:
        with pytest.warns(UnrecordedWriteWarning, match="label is not"):
            one.delete()
        assert Labelled.objects.count() == 0
        assert (records()[1].label, records()[1].error) == (None, WHY)


def test_a_value_that_cannot_be_encoded(records: Records, on_error: OnError) -> None:
    """The error names document, field and cause; or the record has it beside what is known."""
    value: Any = SECRET
    for _ in range(120):
        value = [value]
    one = Anything(name="a", value=value)
    if on_error == "fail":
        with pytest.raises(RecordingError) as raised:
            one.save()
        assert "not be recorded: Anything a: field 'value' cannot be recorded" in str(raised.value)
        assert SECRET not in str(raised.value)
        assert records() == []
        return
    with pytest.warns(UnrecordedWriteWarning, match="field 'value' is not: .*nested more than"):
        one.save()
    [record] = records()
    assert record.changes["value"] == Change(ABSENT, UNKNOWN)
    assert record.changes["name"] == Change(ABSENT, "a")
    assert record.error is not None
    Anything(name="b", value=value).save()  # of which nobody is warned again
    assert records()[1].error == record.error
