"""Intents: what a crash leaves between a document and its record, and how it is settled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import mongoengine
import pytest
from click.testing import CliRunner
from mongoengine import fields
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import AutoReconnect
from sqlalchemy import Engine, text

from lifecycle import ABSENT, Change, Lifecycle, acting, audited
from lifecycle.audit.intents import IntentStore
from lifecycle.audit.store import AuditStore
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.cli.commands import lifecycle as command
from lifecycle.errors import ConfigurationError, RecordingError, TablesMissing, UnknownRevision
from lifecycle.verdicts import Answer

NOW = timedelta(seconds=-1)


@audited(label="name", mask={"pin"})
class Berth(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    ship = fields.StringField(db_field="s")
    depth = fields.IntField()
    pin = fields.StringField()


class Killed(BaseException):
    """The process is killed here."""


@pytest.fixture
def lifecycle(mongo: Database[Any], sqlite_engine: Engine) -> Iterator[Lifecycle]:
    """A Lifecycle whose records are elsewhere."""
    lifecycle = Lifecycle(store=sqlite_engine)
    lifecycle.create_tables()
    lifecycle.install(mongoengine)
    yield lifecycle
    lifecycle.uninstall(mongoengine)


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Kills the write before it is made, or after, so that nothing of it is settled."""

    def kill(when: str, write: Callable[[], Any], method: str = "update_one") -> None:
        real = getattr(Collection, method)

        def killed(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.name.startswith("berth"):
                return real(self, *args, **kwargs)
            if when == "after":
                real(self, *args, **kwargs)
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(Collection, method, killed)
            with pytest.raises(Killed):
                write()

    return kill


def answers(lifecycle: Lifecycle, **options: Any) -> list[str]:
    return [one.answer.value for one in lifecycle.reconcile(**{"older_than": NOW, **options})]


def intents(lifecycle: Lifecycle) -> list[Any]:
    assert isinstance(lifecycle.store, IntentStore)
    return list(lifecycle.store.intents())


def recorded(lifecycle: Lifecycle, key: str = "a") -> list[Any]:
    return [record.operation.value for record in lifecycle.history.of(Berth, key)][::-1]


def berth(**values: Any) -> Berth:
    found: Berth = Berth(**{"name": "a", "ship": "Ann", "depth": 5, **values}).save()
    return found


def test_a_write_that_went_well_leaves_no_intent(lifecycle: Lifecycle) -> None:
    """The record has taken its place."""
    one = berth()
    one.ship = "Eve"
    one.save()
    one.save()  # nothing to do
    one.delete()

    assert intents(lifecycle) == []
    assert recorded(lifecycle) == ["insert", "update", "delete"]
    assert lifecycle.reconcile() == []


def test_a_write_that_failed_leaves_no_intent(lifecycle: Lifecycle) -> None:
    """What the server refuses has not happened."""
    berth()
    with pytest.raises(mongoengine.NotUniqueError):
        Berth(name="a", ship="Eve").save(force_insert=True)

    assert intents(lifecycle) == []
    assert recorded(lifecycle) == ["insert"]


@pytest.mark.parametrize(("when", "answer"), [("after", "confirmed"), ("before", "removed")])
def test_an_update_is_told_by_its_document(
    lifecycle: Lifecycle, kill: Callable[..., None], when: str, answer: str
) -> None:
    """If it was made it is recorded, as whoever made it, with what is there; else it is gone."""
    one = berth()
    one.ship, one.depth = "Eve", 6
    with acting("ann", reason="moved"):
        kill(when, one.save)
    assert recorded(lifecycle) == ["insert"]

    assert answers(lifecycle, dry_run=True) == [answer]
    assert answers(lifecycle) == [answer]

    assert answers(lifecycle) == []
    if when == "after":
        record = next(lifecycle.history.of(Berth, "a"))
        assert (record.actor, record.reason, record.label) == ("ann", "moved", "a")
        assert record.changes == {"ship": Change("Ann", "Eve"), "depth": Change(5, 6)}
    else:
        assert recorded(lifecycle) == ["insert"]


@pytest.mark.parametrize(("when", "answer"), [("after", "confirmed"), ("before", "removed")])
def test_an_insert_is_told_by_its_document(
    lifecycle: Lifecycle, kill: Callable[..., None], when: str, answer: str
) -> None:
    """Whether it is there."""
    kill(when, lambda: Berth(name="a", depth=1, pin="s3cret").save(force_insert=True), "insert_one")

    assert answers(lifecycle) == [answer]
    assert recorded(lifecycle) == (["insert"] if when == "after" else [])


@pytest.mark.parametrize(("when", "answer"), [("after", "confirmed"), ("before", "removed")])
def test_a_delete_is_told_by_its_document(
    lifecycle: Lifecycle, kill: Callable[..., None], when: str, answer: str
) -> None:
    """Whether it is gone."""
    one = berth()
    kill(when, one.delete, "delete_many")

    assert answers(lifecycle) == [answer]
    assert recorded(lifecycle) == ["insert", *(["delete"] if when == "after" else [])]


def test_what_is_hidden_in_the_log_is_hidden_in_intents(
    lifecycle: Lifecycle, kill: Callable[..., None], sqlite_engine: Engine
) -> None:
    """A change of nothing else cannot be told, which is said, and the intent stays."""
    one = berth(pin="s3cret")
    one.pin = "s3cret-2"
    kill("after", one.save)

    with sqlite_engine.connect() as connection:
        body = connection.execute(text("SELECT body FROM lifecycle_intent")).scalar_one()
    assert "s3cret" not in body
    assert "czNjcmV0" not in body  # nor as base64
    [settled] = lifecycle.reconcile(older_than=NOW)
    assert settled.answer is Answer.UNCLEAR
    assert settled.why == "its old values are not known, or hidden"
    assert len(intents(lifecycle)) == 1


def test_a_later_change_tells_by_what_it_found(
    lifecycle: Lifecycle, kill: Callable[..., None]
) -> None:
    """The document itself has other values by then."""
    for when, last in (("after", "confirmed"), ("before", "removed")):
        Berth.objects.delete()
        one = berth(depth=1)
        one.depth = 2
        kill(when, one.save)
        again = Berth.objects.get(pk="a")
        again.depth = 3
        again.save()

        assert answers(lifecycle) == [last]


def test_several_crashes_on_one_document_are_told_by_each_other(
    lifecycle: Lifecycle, kill: Callable[..., None]
) -> None:
    """What the second one found tells of the first."""
    berth(depth=1)
    for depth, when in ((2, "after"), (3, "before"), (4, "after")):
        one = Berth.objects.get(pk="a")
        one.depth = depth
        kill(when, one.save)

    assert answers(lifecycle) == ["confirmed", "removed", "confirmed"]
    changes = [record.changes.get("depth") for record in lifecycle.history.of(Berth, "a")]
    assert changes == [Change(2, 4), Change(1, 2), Change(ABSENT, 1)]


def test_what_was_changed_past_lifecycle_cannot_be_told(
    lifecycle: Lifecycle, kill: Callable[..., None], mongo: Database[Any]
) -> None:
    """Neither the old values nor the new ones are there, and the log knows of no other change."""
    one = berth(depth=1)
    one.depth = 2
    kill("after", one.save)
    mongo.berth.update_one({"_id": "a"}, {"$set": {"depth": 7}})

    assert answers(lifecycle) == ["unclear"]
    mongo.berth.delete_one({"_id": "a"})
    assert answers(lifecycle) == ["unclear"]


def test_what_is_young_may_be_under_way(lifecycle: Lifecycle, kill: Callable[..., None]) -> None:
    """It is left alone for a minute."""
    one = berth()
    one.depth = 6
    kill("after", one.save)

    assert [settled.answer for settled in lifecycle.reconcile()] == [Answer.PENDING]
    assert len(intents(lifecycle)) == 1


def test_a_write_the_network_lost_is_reconciled(
    lifecycle: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether the server has made it, so its intent stays."""
    one = berth()
    one.depth = 6
    real = Collection.update_one

    def lost(self: Any, *args: Any, **kwargs: Any) -> Any:
        real(self, *args, **kwargs)
        raise AutoReconnect("connection closed")

    with monkeypatch.context() as patched:
        patched.setattr(Collection, "update_one", lost)
        with pytest.raises(AutoReconnect):
            one.save()

    assert answers(lifecycle) == ["confirmed"]
    assert recorded(lifecycle) == ["insert", "update"]


def test_several_may_reconcile_at_once(lifecycle: Lifecycle, kill: Callable[..., None]) -> None:
    """Each change is recorded once."""
    for number in range(10):
        one = berth(name=str(number))
        one.depth = 6
        kill("after", one.save)

    threads = [Thread(target=lambda: lifecycle.reconcile(older_than=NOW)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [len(recorded(lifecycle, str(number))) for number in range(10)] == [2] * 10
    assert intents(lifecycle) == []


def test_nothing_is_written_whose_intent_cannot_be_stored(
    mongo: Database[Any], sqlite_engine: Engine
) -> None:
    """As in a log that was made before there were intents: the error says what to do."""
    lifecycle = Lifecycle(store=sqlite_engine)
    lifecycle.create_tables()
    with sqlite_engine.begin() as connection:
        connection.execute(text("DROP TABLE lifecycle_intent"))
    lifecycle.install(Berth)
    try:
        with pytest.raises(TablesMissing, match=r"Berth a has not been written.*create-tables"):
            Berth(name="a").save()
        assert mongo.berth.count_documents({}) == 0
        lifecycle.create_tables()
        Berth(name="a").save()
    finally:
        lifecycle.uninstall(Berth)


def test_without_intents_the_log_may_lack_a_write(
    mongo: Database[Any], sqlite_engine: Engine, kill: Callable[..., None]
) -> None:
    """Which durability="fast" accepts, for one statement less."""
    lifecycle = Lifecycle(store=sqlite_engine, durability="fast")
    lifecycle.create_tables()
    lifecycle.install(Berth)
    try:
        one = berth()
        one.depth = 6
        kill("after", one.save)
        assert intents(lifecycle) == []
        assert recorded(lifecycle) == ["insert"]
    finally:
        lifecycle.uninstall(Berth)


def test_an_unknown_durability_is_refused() -> None:
    """When it is set up."""
    with pytest.raises(ConfigurationError, match="durability='slow' is not known"):
        Lifecycle(durability="slow")  # type: ignore[arg-type]


def test_a_store_that_keeps_no_intents_is_named(mongo: Database[Any]) -> None:
    """Before anything is written; without intents it may be used."""
    store: Any = MemoryStore()
    names = [name for name in dir(AuditStore) if not name.startswith("_")]
    plain = SimpleNamespace(**{name: getattr(store, name) for name in names})
    for durability in ("intent", "fast"):
        lifecycle = Lifecycle(store=plain, durability=durability)  # type: ignore[arg-type]
        lifecycle.install(Berth)
        try:
            if durability == "intent":
                with pytest.raises(RecordingError, match=r'keeps no intents.*durability="fast"'):
                    Berth(name="a").save()
                assert mongo.berth.count_documents({}) == 0
                with pytest.raises(ConfigurationError, match="nothing to reconcile"):
                    lifecycle.reconcile()
            else:
                Berth(name="a").save()
        finally:
            lifecycle.uninstall(Berth)


# --- somebody's word ------------------------------------------------------------------------


@pytest.mark.parametrize("made", [True, False])
def test_somebody_who_has_looked_decides_what_cannot_be_told(
    lifecycle: Lifecycle, kill: Callable[..., None], made: bool
) -> None:
    """It is recorded as it was announced, or forgotten; and the log has who said so, and why."""
    one = berth(pin="1")
    one.pin = "2"
    with acting("ann"):
        kill("after", one.save)
    [unclear] = lifecycle.reconcile(older_than=NOW)

    with acting("bob", reason="asked ann"):
        [dry] = lifecycle.reconcile(older_than=NOW, dry_run=True, said={unclear.id: made})
        assert len(intents(lifecycle)) == 1
        [settled] = lifecycle.reconcile(older_than=NOW, said={unclear.id: made})

    assert dry == settled
    assert settled.answer is (Answer.HAPPENED if made else Answer.DID_NOT)
    assert settled.decided == 1
    assert intents(lifecycle) == []
    assert recorded(lifecycle) == ["insert", *(["update"] if made else [])]
    [decision] = lifecycle.history.find("lifecycle.Decision")
    assert (decision.actor, decision.reason) == ("bob", "asked ann")
    assert decision.key == unclear.records[0].id
    told = {name: change.new for name, change in decision.changes.items()}  # type: ignore[union-attr]
    assert told.pop("announced_at") == unclear.revision.at
    assert told == {
        "made": made,
        "operation": "update",
        "entity": "Berth",
        "key": "a",
        "announced_by": "ann",
    }


def test_a_word_about_nothing_is_refused(lifecycle: Lifecycle, kill: Callable[..., None]) -> None:
    """Before anything is settled: it may be meant for another log."""
    one = berth()
    one.depth = 6
    kill("after", one.save)
    [waiting] = intents(lifecycle)
    said = {waiting.revision.id: False, UUID(int=7): True}

    with pytest.raises(UnknownRevision, match=r"no change of revision 00000000-.*is waiting"):
        lifecycle.reconcile(older_than=NOW, said=said)
    assert answers(lifecycle, said={waiting.revision.id: False}) == ["confirmed"]
    assert isinstance(lifecycle.store, SqlStore)
    assert lifecycle.store.entities() == ["Berth"]  # and no decision


# --- the command ----------------------------------------------------------------------------


def test_the_command_settles_and_tells(
    lifecycle: Lifecycle, kill: Callable[..., None], mongo_server: Any
) -> None:
    """As text for people, as JSON for programs; with --dry-run nothing is changed."""
    one = berth()
    one.depth = 6
    kill("after", one.save)
    assert isinstance(lifecycle.store, SqlStore)
    called = ["reconcile", lifecycle.store.url, "--documents", mongo_server.uri]

    young = CliRunner().invoke(command, called)
    dry = CliRunner().invoke(command, [*called, "--older-than", "0", "--dry-run"])
    told = CliRunner().invoke(command, [*called, "--older-than", "0", "--json"])
    again = CliRunner().invoke(command, called)

    assert "update of Berth a may be under way\n1 pending." in young.output
    assert "update of Berth a was made\n1 confirmed; nothing was changed." in dry.output
    body = json.loads(told.output)
    assert body["answer"] == "confirmed"
    assert body["changes"] == [{"entity": "Berth", "key": "a", "operation": "update"}]
    assert again.output == "Nothing to reconcile.\n"
    assert {result.exit_code for result in (young, dry, told, again)} == {0}
    assert recorded(lifecycle) == ["insert", "update"]


def test_the_command_fails_when_something_cannot_be_told(
    lifecycle: Lifecycle, kill: Callable[..., None], mongo_server: Any
) -> None:
    """So that a job notices; it names what an operator then decides."""
    one = berth(pin="1")
    one.pin = "2"
    kill("after", one.save)
    assert isinstance(lifecycle.store, SqlStore)
    called = ["reconcile", lifecycle.store.url, "--documents", mongo_server.uri]

    told = CliRunner().invoke(command, [*called, "--older-than", "0"])

    assert told.exit_code == 3
    [waiting] = intents(lifecycle)
    id = str(waiting.revision.id)
    assert f"cannot be told (revision {id}): its old values are not known" in told.output

    called = [*called, "--older-than", "0", "--by", "ann", "--reason", "seen"]
    said = [*called, "--made", id]
    both = CliRunner().invoke(command, [*said, "--not-made", id])
    nothing = CliRunner().invoke(command, called)
    dry = CliRunner().invoke(command, [*said, "--dry-run"])
    settled = CliRunner().invoke(command, [*said, "--json"])

    assert [both.exit_code, nothing.exit_code] == [2, 2]
    assert "was made (1 by your word)\n1 confirmed; nothing was changed." in dry.output
    assert json.loads(settled.output)["decided"] == 1
    assert (dry.exit_code, settled.exit_code) == (0, 0)
    assert recorded(lifecycle) == ["insert", "update"]
    [decision] = lifecycle.history.find("lifecycle.Decision")
    assert (decision.actor, decision.reason) == ("ann", "seen")
    assert CliRunner().invoke(command, said).exit_code == 1


@pytest.mark.parametrize("uri", ["mongodb://ann:s3cret@/", "mongodb://ann:s3cret@host:x/"])
def test_a_uri_that_cannot_be_read_is_named(lifecycle: Lifecycle, uri: str) -> None:
    """Without its password."""
    assert isinstance(lifecycle.store, SqlStore)
    told = CliRunner().invoke(command, ["reconcile", lifecycle.store.url, "--documents", uri])

    assert told.exit_code == 1
    assert "cannot be read" in told.output
    assert "s3cret" not in told.output


# --- a process that is killed ---------------------------------------------------------------

CHILD = """
import random, sys
import mongoengine
from mongoengine import fields
from sqlalchemy import create_engine, event
from lifecycle import Lifecycle

class Tally(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    count = fields.IntField()
    meta = {"collection": "tally"}

store, uri, name, seed, journal = sys.argv[1:]
mongoengine.connect(name, host=uri)
engine = create_engine(store)

@event.listens_for(engine, "connect")
def write_ahead(connection, record):
    if journal == "WAL":
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

lifecycle = Lifecycle(store=engine)
lifecycle.install(mongoengine)
chance = random.Random(seed)
print("ready", flush=True)
while True:
    key = chance.choice("abc")
    one = Tally.objects(pk=key).first()
    if one is None:
        Tally(name=key, count=0).save(force_insert=True)
    elif chance.random() < 0.1:
        one.delete()
    else:
        one.count += 1
        one.save()
"""


class Tally(mongoengine.Document):
    name = fields.StringField(primary_key=True)
    count = fields.IntField()
    meta = {"collection": "tally"}


ROUNDS = int(os.environ.get("LIFECYCLE_TEST_KILLS", "3"))


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_killed_process_loses_nothing(
    lifecycle: Lifecycle, mongo: Database[Any], mongo_server: Any, tmp_path: Path, journal: str
) -> None:
    """Whenever it is killed, after reconciling the log tells what was done, once, and no more."""
    store = lifecycle.store
    assert isinstance(store, SqlStore)
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    chance, left = random.Random(7), 0
    for seed in range(ROUNDS):
        given = [store.url, mongo_server.uri, mongo.name, str(seed), journal]
        called = [sys.executable, str(script), *given]
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        child = subprocess.Popen(called, stdout=subprocess.PIPE, env=environment)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(0.05 + chance.random() * 0.15)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        left += len(intents(lifecycle))
        for settled in lifecycle.reconcile(older_than=NOW):
            assert settled.answer in (Answer.HAPPENED, Answer.DID_NOT, Answer.RECORDED), settled
        assert intents(lifecycle) == []
        _assert_told(lifecycle, mongo)
    assert left or ROUNDS < 100  # else it has been killed between its writes every time


def _assert_told(lifecycle: Lifecycle, mongo: Database[Any]) -> None:
    """Every record begins where the one before ended, and the last ends at the document."""
    for key in "abc":
        now: Any = ABSENT
        for record in lifecycle.history.find("Tally", newest_first=False):
            if record.key == key:
                change = record.changes["count"]
                assert isinstance(change, Change)
                assert change.old == now
                now = change.new
        found = mongo.tally.find_one({"_id": key})
        assert now == (ABSENT if found is None else found["count"])
