"""What other programs write to documents, heard of by change events and recorded."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from bson import Int64, ObjectId, Timestamp
from click.testing import CliRunner
from mongoengine import fields
from pymongo.database import Database

from lifecycle import (
    ABSENT,
    MASKED,
    UNKNOWN,
    Change,
    Lifecycle,
    audited,
    not_audited,
    soft_delete,
)
from lifecycle.audit.records import Record
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.audit.watching import SOURCE, Progress, watched
from lifecycle.cli.commands import lifecycle as command
from lifecycle.errors import ConfigurationError, RecordingError, StoreError
from lifecycle.mappers.mongoengine.change_events import ChangeEvents
from lifecycle.mappers.mongoengine.change_streams import heard

AT = datetime.now(UTC).replace(microsecond=0)


class Pilot(mongoengine.EmbeddedDocument):
    name = fields.StringField(db_field="n")
    rank = fields.IntField()


@audited(label="name", mask={"code"}, exclude={"draught"})
class Lock(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    gate = fields.StringField(db_field="g")
    level = fields.IntField()
    pilot = fields.EmbeddedDocumentField(Pilot)
    ships = fields.ListField(fields.StringField())
    code = fields.StringField()
    draught = fields.IntField()


class Craft(mongoengine.Document):
    meta = {"allow_inheritance": True}
    tons = fields.IntField()


@audited(mask={"cargo"})
class Barge(Craft):
    cargo = fields.StringField()


@not_audited
class Toy(Craft):
    pass


@soft_delete
class Buoy(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    deleted_at = fields.DateTimeField(db_field="d")


class Feed:
    """Makes change events as the server documents them, and hands them to a Lifecycle."""

    def __init__(self, lifecycle: Lifecycle, path: Path) -> None:
        self.lifecycle = lifecycle
        self.progress = path
        self.made = 0

    def event(self, kind: str, id: Any = "a", collection: str = "lock", **more: Any) -> Any:
        self.made += 1
        return {
            "_id": {"_data": f"82{self.made:06x}"},
            "operationType": kind,
            "clusterTime": Timestamp(int(AT.timestamp()), self.made),
            "wallTime": datetime.now(UTC).replace(tzinfo=None),
            "ns": {"db": "port", "coll": collection},
            "documentKey": {"_id": id},
            **more,
        }

    def update(self, sets: Mapping[str, Any], unsets: Iterable[str] = (), **more: Any) -> Any:
        described = {
            "updatedFields": dict(sets),
            "removedFields": [*unsets],
            "truncatedArrays": more.pop("truncated", []),
        }
        return self.event("update", updateDescription=described, **more)

    def heard(self, *events: Any, patience: float = 0) -> list[Record]:
        """What is recorded of some events."""
        lifecycle = self.lifecycle
        mapper: Any = lifecycle._adapters.of_documents()
        wants = lifecycle._services.recorder.wants
        known = ChangeEvents(mapper._of_connection("default"), wants)
        told = (known.heard(event) for event in events)
        waiting = timedelta(seconds=patience)
        return list(watched(told, lifecycle.store, wants, Progress(self.progress), waiting))


@pytest.fixture
def feed(lifecycle: Lifecycle, tmp_path: Path) -> Feed:
    return Feed(lifecycle, tmp_path / "watch.json")


def only(found: list[Record]) -> Record:
    [record] = found
    return record


# --- what events say -------------------------------------------------------------------------


def test_an_insert_is_recorded_with_its_values_under_attribute_names(feed: Feed) -> None:
    """As Lifecycle would have recorded it: masked, without what is excluded, with its label."""
    son = {"_id": "a", "g": "north", "pilot": {"n": "Ann", "rank": 1}, "code": "s3", "draught": 2}
    record = only(feed.heard(feed.event("insert", fullDocument=son)))

    assert (record.entity, record.key, record.operation) == ("Lock", "a", "insert")
    assert (record.label, record.actor, record.revision.source) == ("a", None, SOURCE)
    assert record.changes["gate"] == Change(ABSENT, "north")
    assert record.changes["pilot"] == Change(ABSENT, {"name": "Ann", "rank": 1})
    assert record.changes["code"] == Change(ABSENT, MASKED)
    assert "draught" not in record.changes
    assert abs(record.at - datetime.now(UTC)) < timedelta(seconds=30)
    assert list(feed.lifecycle.history.of(Lock, "a")) == [record]


def test_an_update_with_images_has_old_values(feed: Feed) -> None:
    """Those of the server, for it keeps them."""
    before = {"_id": "a", "g": "north", "level": 1, "ships": ["x", "y"]}
    after = {"_id": "a", "g": "south", "ships": ["x", "y", "z"], "code": "s3"}
    event = feed.update(
        {"g": "south", "ships.2": "z", "code": "s3"},
        ["level"],
        fullDocumentBeforeChange=before,
        fullDocument=after,
    )
    record = only(feed.heard(event))

    assert record.operation == "update"
    assert record.changes["gate"] == Change("north", "south")
    assert record.changes["level"] == Change(1, ABSENT)
    assert record.changes["code"] == Change(ABSENT, MASKED)
    assert record.changes.applied_to({"gate": "north", "level": 1, "ships": ["x", "y"]}) == {
        "gate": "south",
        "ships": ["x", "y", "z"],
        "code": MASKED,
    }


def test_an_update_without_images_has_unknown_old_values(feed: Feed) -> None:
    """By now others may have written the document again, so it is not looked at."""
    event = feed.update(
        {"g": "south", "pilot.n": "Eve", "code": "s3"},
        ["level"],
        truncated=[{"field": "ships", "newSize": 1}],
        fullDocument=None,
    )
    assert only(feed.heard(event)).changes == {
        "gate": Change(UNKNOWN, "south"),
        "pilot.name": Change(UNKNOWN, "Eve"),
        "code": Change(MASKED, MASKED),
        "level": Change(UNKNOWN, ABSENT),
        "ships": Change(UNKNOWN, UNKNOWN),
    }


def test_a_replacement_is_an_update_of_all_it_changed(feed: Feed) -> None:
    """With old values, or without."""
    after = {"_id": "a", "g": "south"}
    before = {"_id": "a", "g": "north", "level": 1}
    event = feed.event("replace", fullDocument=after, fullDocumentBeforeChange=before)
    assert only(feed.heard(event)).changes == {
        "gate": Change("north", "south"),
        "level": Change(1, ABSENT),
    }

    record = only(feed.heard(feed.event("replace", fullDocument=after)))
    assert record.operation == "update"
    assert record.changes["gate"] == Change(UNKNOWN, "south")
    assert record.changes["level"] == Change(UNKNOWN, ABSENT)


def test_a_delete_is_recorded_with_what_went(feed: Feed) -> None:
    """Or that something went."""
    before = {"_id": "a", "g": "north"}
    record = only(feed.heard(feed.event("delete", fullDocumentBeforeChange=before)))
    assert record.operation == "delete"
    assert record.changes == {"name": Change("a", ABSENT), "gate": Change("north", ABSENT)}
    assert record.label == "a"

    record = only(feed.heard(feed.event("delete", "b")))
    assert (record.key, record.changes["gate"]) == ("b", Change(UNKNOWN, ABSENT))


def test_a_dropped_collection_is_one_record(feed: Feed) -> None:
    """Nobody can tell which documents it had, and it has to be seen."""
    event = feed.event("drop")
    del event["documentKey"]
    record = only(feed.heard(event))
    assert (record.entity, record.key, record.operation) == ("Lock", "", "bulk")
    assert record.changes["$statement"] == Change(ABSENT, "lock.drop")


def test_events_of_other_collections_and_kinds_are_passed_over(feed: Feed) -> None:
    """They only tell how far the stream has come."""
    other = feed.event("insert", collection="elsewhere", fullDocument={"_id": "a"})
    index = feed.event("createIndexes")
    assert feed.heard(other, index) == []
    assert Progress(feed.progress).token == '{"_data": "82000002"}'


def test_subclasses_are_told_apart_by_the_document(feed: Feed) -> None:
    """Each has its own policy."""
    id = ObjectId()
    barge = {"_id": id, "_cls": "Craft.Barge", "cargo": "gold", "tons": 1}
    toy = {"_id": id, "_cls": "Craft.Toy", "tons": 1}
    found = feed.heard(
        feed.event("insert", id, "craft", fullDocument=barge),
        feed.event("insert", ObjectId(), "craft", fullDocument=toy),
    )
    assert only(found).changes["cargo"] == Change(ABSENT, MASKED)


def test_a_document_of_an_unknown_class_shows_no_value(feed: Feed) -> None:
    """It may have what that class hides."""
    id = ObjectId()
    event = feed.event(
        "update",
        id,
        "craft",
        updateDescription={"updatedFields": {"cargo": "gold"}, "removedFields": []},
    )
    record = only(feed.heard(event))
    assert record.changes == {"cargo": Change(UNKNOWN, UNKNOWN)}
    assert record.error is not None
    assert "class is not known" in record.error


def test_what_one_transaction_wrote_shares_a_group(feed: Feed) -> None:
    """Others do not."""
    of_one = {"lsid": {"id": b"session", "uid": b"u"}, "txnNumber": Int64(3)}
    first = feed.event("insert", "a", fullDocument={"_id": "a"}, **of_one)
    second = feed.event("insert", "b", fullDocument={"_id": "b"}, **of_one)
    third = feed.event("insert", "c", fullDocument={"_id": "c"})
    groups = [record.revision.group for record in feed.heard(first, second, third)]
    assert groups[0] == groups[1] != groups[2]


def test_a_document_that_is_marked_as_deleted_is_deleted(feed: Feed) -> None:
    """And one whose mark is taken away is there again, as with Lifecycle itself."""
    at = datetime(2026, 1, 1)
    marked, back = {"_id": "b", "d": at}, {"_id": "b"}
    images = {"fullDocumentBeforeChange": back, "fullDocument": marked}
    found = feed.heard(
        feed.update({"d": at}, id="b", collection="buoy"),
        feed.update({}, ["d"], id="b", collection="buoy"),
        feed.update({"d": at}, id="b", collection="buoy", **images),
        feed.event("delete", "b", "buoy", fullDocumentBeforeChange=marked),
    )
    assert [one.operation.value for one in found] == ["delete", "insert", "delete"]
    assert found[0].changes == {"name": Change("b", ABSENT)}
    assert found[1].changes == {"name": Change(ABSENT, "b")}


def test_what_lifecycle_marked_is_not_recorded_again(feed: Feed) -> None:
    """Its record is that of a delete, and the event that of an update."""
    Buoy(name="b").save()
    Buoy.objects.get(name="b").delete()
    assert [one.operation.value for one in feed.lifecycle.history.of(Buoy, "b")] == [
        "delete",
        "insert",
    ]
    marked = feed.update({"d": datetime(2026, 1, 1)}, id="b", collection="buoy")
    assert feed.heard(feed.event("insert", "b", "buoy", fullDocument={"_id": "b"}), marked) == []


# --- what the log has already ----------------------------------------------------------------


def test_what_lifecycle_wrote_is_not_recorded_again(feed: Feed) -> None:
    """Each of its writes is found in the log, with images and without."""
    lock = Lock(name="a", gate="north", level=1, code="s3").save()
    lock.gate, lock.pilot = "south", Pilot(name="Ann")
    lock.save()
    Lock.objects(name="a").update(set__level=2, set__code="s4")
    lock.delete()
    before = list(feed.lifecycle.history.find())
    assert len(before) == 4

    son = {"_id": "a", "g": "north", "level": 1, "code": "s3"}
    assert (
        feed.heard(
            feed.event("insert", fullDocument=son),
            feed.update({"g": "south", "pilot": {"n": "Ann"}}),
            feed.update(
                {"level": 2, "code": "s4"},
                fullDocumentBeforeChange={"_id": "a", "level": 1, "code": "s3"},
                fullDocument={"_id": "a", "level": 2, "code": "s4"},
            ),
            feed.event("delete"),
        )
        == []
    )
    assert list(feed.lifecycle.history.find()) == before


def test_a_record_stands_for_one_write_only(feed: Feed) -> None:
    """Another program that sets what was set before did it itself; also after a restart."""
    lock = Lock(name="a", gate="north").save()
    lock.gate = "south"
    lock.save()
    inserted = feed.event("insert", fullDocument={"_id": "a", "g": "north"})
    own, back, again = (feed.update({"g": gate}) for gate in ("south", "north", "south"))

    assert [one.changes for one in feed.heard(inserted, own, back)] == [
        {"gate": Change(UNKNOWN, "north")}
    ]
    assert only(feed.heard(again)).changes == {"gate": Change(UNKNOWN, "south")}


def test_another_value_or_another_field_is_another_write(feed: Feed) -> None:
    """Only what agrees with a record is taken for it."""
    lock = Lock(name="a", gate="north", level=1).save()
    lock.gate = "south"
    lock.save()
    assert only(feed.heard(feed.update({"g": "east"}))).changes["gate"].new == "east"
    assert only(feed.heard(feed.update({"g": "south", "level": 2}))).changes["level"].new == 2
    assert feed.heard(feed.update({"g": "south"})) == []


def test_a_record_of_long_ago_is_not_of_this_write(feed: Feed) -> None:
    """Five minutes either way are enough for clocks that differ, and for a transaction."""
    lock = Lock(name="a", gate="north").save()
    lock.gate = "south"
    lock.save()
    event = feed.update({"g": "south"})
    event["wallTime"] += timedelta(minutes=6)
    assert only(feed.heard(event)).changes["gate"] == Change(UNKNOWN, "south")


def test_a_statement_recorded_as_a_whole_stands_for_as_many_writes(feed: Feed) -> None:
    """As it hit, and for no more."""
    Lock.objects.insert([Lock(name="a"), Lock(name="b")])
    with feed.lifecycle.bulk("statement"):
        Lock.objects.update(set__level=5)
    events = [feed.update({"level": 5}), feed.update({"level": 5}) | {"documentKey": {"_id": "b"}}]
    assert feed.heard(*events) == []
    assert only(feed.heard(feed.update({"level": 5}))).key == "a"


def test_what_was_announced_and_not_yet_recorded_is_known(feed: Feed) -> None:
    """The intent tells; `reconcile` will record it."""
    store = feed.lifecycle.store
    assert isinstance(store, MemoryStore)
    lock = Lock(name="a", gate="north").save()
    lock.gate = "south"
    taken = store.confirm
    store.confirm = lambda *args: (_ for _ in ()).throw(StoreError("gone"))  # type: ignore[assignment]
    with pytest.raises(StoreError):
        lock.save()
    store.confirm = taken  # type: ignore[method-assign]

    assert feed.heard(feed.update({"g": "south"})) == []


def test_a_record_may_come_after_the_event(feed: Feed) -> None:
    """Each write is looked for only when the log has had the time to get it."""
    lifecycle, ours = feed.lifecycle, feed.update({"g": "south"})
    lock = Lock(name="a", gate="north").save()
    mapper: Any = lifecycle._adapters.of_documents()
    wants = lifecycle._services.recorder.wants
    known = ChangeEvents(mapper._of_connection("default"), wants)

    def told() -> Any:
        yield known.heard(ours)
        lock.gate = "south"
        lock.save()  # records it, after it was heard of

    progress, patience = Progress(feed.progress), timedelta(milliseconds=50)
    assert list(watched(told(), lifecycle.store, wants, progress, patience)) == []


def test_what_is_written_without_the_log_is_recorded(feed: Feed) -> None:
    """Nobody else has."""
    with feed.lifecycle.suppressed():
        Lock(name="a", gate="north").save()
    event = feed.event("insert", fullDocument={"_id": "a", "g": "north"})
    assert only(feed.heard(event)).operation == "insert"


# --- going on --------------------------------------------------------------------------------


def test_events_told_again_are_recorded_once(feed: Feed) -> None:
    """As after a crash between a record and the note of how far it has come."""
    events = [feed.update({"g": gate}) for gate in ("north", "south", "north")]
    assert len(feed.heard(*events[:2])) == 2
    feed.progress.unlink()
    assert [one.changes["gate"].new for one in feed.heard(*events)] == ["north"]
    assert len(list(feed.lifecycle.history.of(Lock, "a"))) == 3


def test_killed_at_any_place_it_loses_and_doubles_nothing(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each record, and each note of how far it has come."""
    lock = Lock(name="a", gate="0").save()
    lock.gate = "2"
    lock.save()
    events = [feed.event("insert", fullDocument={"_id": "a", "g": "0"})]
    events += [feed.update({"g": gate}) for gate in "12321"]
    store: Any = feed.lifecycle.store
    monkeypatch.setattr("lifecycle.audit.watching._EACH", -1.0)  # after each event
    append, save = store.append, Progress.save
    step = 0

    def dying(call: Callable[..., Any], at: int, when: str) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            nonlocal step
            step += 1
            if step == at and when == "before":
                raise KeyboardInterrupt
            result = call(*args)
            if step == at:
                raise KeyboardInterrupt
            return result

        return wrapped

    def left() -> list[Any]:
        token = json.loads(Progress(feed.progress).token or '{"_data": "82000000"}')["_data"]
        return [one for one in events if one["_id"]["_data"] > token]

    kills = 0
    for at in range(1, 12):
        for when in ("before", "after"):
            step = 0
            with monkeypatch.context() as patched:
                patched.setattr(store, "append", dying(append, at, when))
                patched.setattr(Progress, "save", dying(save, at, when))
                try:
                    feed.heard(*left())
                except KeyboardInterrupt:
                    kills += 1
            if at % 3 == 0:  # the note is lost, too
                feed.progress.unlink(missing_ok=True)
    feed.heard(*left())

    gates = [one.changes["gate"].new for one in feed.lifecycle.history.of(Lock, "a")][::-1]
    assert kills > 3
    assert sorted(gates) == sorted(["0", "2", "1", "3", "2", "1"])


def test_progress_is_a_file_that_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    """At once, and not after an hour."""
    path = tmp_path / "watch.json"
    path.write_text("{}x")
    with pytest.raises(ConfigurationError, match="does not tell how far"):
        Progress(path)
    with pytest.raises(ConfigurationError, match="there is no folder"):
        Progress(tmp_path / "none" / "watch.json")


class Scripted:
    """A change stream that gives these events, and then nothing."""

    def __init__(self, *events: Any, alive: bool = True) -> None:
        self.events = [*events]
        self.ends = not alive
        self.resume_token: Any = {"_data": "82ffffff"}

    @property
    def alive(self) -> bool:
        return bool(self.events) or not self.ends

    def try_next(self) -> Any:
        return self.events.pop(0) if self.events else None


def test_a_quiet_stream_still_goes_on(lifecycle: Lifecycle, feed: Feed) -> None:
    """Else its place would be lost when the server forgets what is old."""
    known = ChangeEvents([], lambda policy: True)
    *told, last = heard(Scripted(feed.event("insert")), known, until_idle=True)
    assert [one.written for one in told] == [None]
    assert (last.written, last.token) == (None, '{"_data": "82ffffff"}')


def test_a_stream_that_ends_by_itself_is_an_error(feed: Feed) -> None:
    """As when the database is dropped: nobody would notice."""
    known = ChangeEvents([], lambda policy: True)
    with pytest.raises(RecordingError, match="has ended"):
        list(heard(Scripted(alive=False), known, until_idle=False))


# --- the command -----------------------------------------------------------------------------

APPLICATION = """
import mongoengine
from lifecycle import Lifecycle

class Lock(mongoengine.Document):
    name = mongoengine.StringField(primary_key=True)

mongoengine.connect("{name}", host="{uri}")
lifecycle = Lifecycle(store="sqlite:///{log}")
lifecycle.create_tables()
lifecycle.install(mongoengine)
"""


@pytest.fixture
def application(mongo: Database[Any], mongo_server: Any, tmp_path: Path) -> str:
    """The folder of an application, for ``--app shop:lifecycle``."""
    log = tmp_path / "log.db"
    text = APPLICATION.format(name=mongo.name, uri=mongo_server.uri, log=log)
    (tmp_path / "shop.py").write_text(text)
    return str(tmp_path)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_cleanly_when_it_is_told_to(application: str, end: signal.Signals) -> None:
    """And keeps how far it has come."""
    told = [sys.executable, "-c", "from lifecycle.cli import main; main()"]
    told += ["watch", "watch.json", "--app=shop:lifecycle", "--patience=0"]
    path = str(Path(__file__).parents[2])
    with subprocess.Popen(
        told,
        cwd=application,
        env={"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for _ in range(200):
                if (Path(application) / "watch.json").exists():
                    break
                time.sleep(0.05)
            process.send_signal(end)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, output) == (0, "Ended.\n"), errors
    assert "Old values will be UNKNOWN in lock" in errors
    assert Progress(Path(application) / "watch.json").token is not None


def test_the_command_says_what_it_takes() -> None:
    """An application, and a MongoDB that has change streams."""
    result = CliRunner().invoke(command, ["watch", "watch.json"])
    assert result.exit_code == 2
    assert "--app module:lifecycle" in result.output
    shown = CliRunner().invoke(command, ["watch", "--help"]).output
    assert "changeStreamPreAndPostImages" in shown
    assert "replSet" in shown


def test_a_connection_without_recorded_documents_is_an_error(
    mongo: Database[Any], tmp_path: Path
) -> None:
    """It would watch nothing for ever."""
    lifecycle = Lifecycle(store=MemoryStore())
    with pytest.raises(ConfigurationError, match="no document class of the connection 'default'"):
        next(lifecycle.watch(tmp_path / "watch.json"))


@pytest.mark.real_mongodb("change streams of a database")
def test_it_records_what_others_write_and_nothing_else(
    mongo: Database[Any], lifecycle: Lifecycle, tmp_path: Path
) -> None:
    """With old values, from where it ended before."""
    path = tmp_path / "watch.json"
    options: dict[str, Any] = {"until_idle": True, "patience": timedelta(seconds=0.1)}
    Lock(name="a", gate="north").save()
    mongo.command("collMod", "lock", changeStreamPreAndPostImages={"enabled": True})
    assert "lock" not in lifecycle.without_images()
    assert list(lifecycle.watch(path, **options)) == []

    lock = Lock.objects.get(name="a")
    lock.level = 1
    lock.save()
    mongo["lock"].update_one({"_id": "a"}, {"$set": {"g": "south"}, "$push": {"ships": "x"}})
    lock.reload()
    lock.delete()
    mongo["lock"].insert_one({"_id": "b"})
    mongo["lock"].delete_one({"_id": "b"})

    found = list(lifecycle.watch(path, **options))
    assert [(one.key, one.operation.value) for one in found] == [
        ("a", "update"),
        ("b", "insert"),
        ("b", "delete"),
    ]
    assert found[0].changes["gate"] == Change("north", "south")
    assert list(lifecycle.watch(path, **options)) == []
