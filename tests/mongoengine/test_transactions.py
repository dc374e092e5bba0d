"""The transaction that a write belongs to, and what it leaves behind when it is rolled back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import ConnectionFailure, OperationFailure

from lifecycle import UNKNOWN, Change, Lifecycle
from lifecycle.mappers.mongoengine.transactions import Outcome, current


class Account(mongoengine.Document):
    owner = fields.StringField()
    balance = fields.IntField()


@contextmanager
def transaction(mongo: Database[Any]) -> Iterator[ClientSession]:
    """A transaction that everything inside belongs to."""
    with (
        mongo.client.start_session() as session,
        session.bind(end_session=False),
        session.start_transaction(),
    ):
        yield session


class Stop(Exception):
    """Leaves a transaction without commit."""


@contextmanager
def undone(mongo: Database[Any]) -> Iterator[None]:
    """A transaction that is rolled back."""
    with suppress(Stop), transaction(mongo):
        yield
        raise Stop


def when_over(listener: Callable[[Outcome], None]) -> None:
    """Listen to the end of the transaction this is in."""
    here = current()
    assert here is not None
    here.when_over(listener)


# --- which transaction, and how it ends -----------------------------------------------------


def test_a_write_outside_of_a_transaction_belongs_to_none(mongo: Database[Any]) -> None:
    """Nor does one in a bound session that has not started one."""
    assert current() is None
    with mongo.client.start_session() as session, session.bind(end_session=False):
        assert current() is None
    with mongo.client.start_session() as session, session.start_transaction():
        assert current() is None  # mongoengine hands no session on, so without bind() it is out


def test_a_transaction_tells_that_it_was_committed(mongo: Database[Any]) -> None:
    """Once, and only when the server has committed; it is the same one all along."""
    told: list[Any] = []
    with transaction(mongo) as session:
        here = current()
        assert here is not None
        assert here.session is session
        assert here.contains(mongo["account"])
        here.when_over(told.append)
        Account(owner="ann").save()
        assert current() is here
        assert told == []
    assert told == [Outcome.COMMITTED]
    assert current() is None
    assert Account.objects.count() == 1


@pytest.mark.parametrize("way", ["raising", "abort_transaction", "ending the session"])
def test_a_transaction_tells_that_it_was_rolled_back(mongo: Database[Any], way: str) -> None:
    """Whichever way it ends without commit."""
    told: list[Any] = []
    Account.objects.count()  # makes the collection, which transactions do not
    with mongo.client.start_session() as session, session.bind(end_session=False):
        if way == "raising":
            with suppress(Stop), session.start_transaction():
                when_over(told.append)
                Account(owner="ann").save()
                raise Stop
        else:
            session.start_transaction()
            when_over(told.append)
            Account(owner="ann").save()
            if way == "abort_transaction":
                session.abort_transaction()
    assert told == [Outcome.ROLLED_BACK]
    assert Account.objects.count() == 0


def test_each_transaction_of_a_session_is_one_of_its_own(mongo: Database[Any]) -> None:
    """And the session is as it was when they are over."""
    told: list[Any] = []
    with mongo.client.start_session() as session, session.bind(end_session=False):
        before = dict(vars(session))
        for number in range(2):
            with session.start_transaction():
                when_over(lambda outcome, n=number: told.append((n, outcome)))
                Account(owner="ann").save()
        assert vars(session).keys() == before.keys()
    assert told == [(0, Outcome.COMMITTED), (1, Outcome.COMMITTED)]


def test_a_transaction_that_pymongo_repeats_is_told_of_each_time(mongo: Database[Any]) -> None:
    """with_transaction() calls its function again when the server asks for that."""
    told: list[Any] = []
    Account.objects.count()

    def pay(session: ClientSession) -> None:
        with session.bind(end_session=False):
            when_over(told.append)
            Account(owner="ann").save()
            if len(told) == 0:
                raise OperationFailure("conflict", details={"errorLabels": [_TRANSIENT]})

    with mongo.client.start_session() as session:
        session.with_transaction(pay)
    assert told == [Outcome.ROLLED_BACK, Outcome.COMMITTED]
    assert Account.objects.count() == 1


_TRANSIENT = "TransientTransactionError"


def _commit_fails(session: ClientSession, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    def fail(command: str) -> None:
        raise error

    monkeypatch.setattr(session, "_finish_transaction_with_retry", fail)


def test_a_commit_the_server_refuses_is_a_rollback(
    mongo: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error comes through."""
    told: list[Any] = []

    def pay() -> None:
        with transaction(mongo) as session:
            when_over(told.append)
            Account(owner="ann").save()
            _commit_fails(session, monkeypatch, OperationFailure("conflict", 112))

    with pytest.raises(OperationFailure, match="conflict"):
        pay()
    assert told == [Outcome.ROLLED_BACK]


def test_a_commit_without_an_answer_is_not_taken_for_either(
    mongo: Database[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the session ends and nobody has asked again, that is said."""
    told: list[Any] = []

    def pay() -> None:
        with transaction(mongo) as session:
            when_over(told.append)
            Account(owner="ann").save()
            _commit_fails(session, monkeypatch, ConnectionFailure("no answer"))

    with pytest.raises(ConnectionFailure):
        pay()
    assert told == [Outcome.UNKNOWN]
    assert "whether it was committed is not known" in caplog.text


def test_a_commit_that_is_asked_for_again_is_told_when_it_is_known(
    mongo: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """pymongo allows to repeat a commit."""
    told: list[Any] = []
    with mongo.client.start_session() as session, session.bind(end_session=False):
        session.start_transaction()
        when_over(told.append)
        Account(owner="ann").save()
        with monkeypatch.context() as failing:
            _commit_fails(session, failing, ConnectionFailure("no answer"))
            with pytest.raises(ConnectionFailure):
                session.commit_transaction()
        assert told == []
        session.commit_transaction()
    assert told == [Outcome.COMMITTED]


def test_a_listener_that_raises_does_not_keep_the_others_from_being_told(
    mongo: Database[Any],
) -> None:
    """Its error reaches who commits, and the commit stands."""
    told: list[Any] = []

    def fail(outcome: Outcome) -> None:
        raise Stop

    def pay() -> None:
        with transaction(mongo):
            when_over(fail)
            when_over(told.append)
            Account(owner="ann").save()

    with pytest.raises(Stop):
        pay()
    assert told == [Outcome.COMMITTED]
    assert Account.objects.count() == 1


# --- what is known of documents afterwards --------------------------------------------------


def test_what_was_written_in_a_transaction_that_was_rolled_back_is_not_known(
    mongo: Database[Any], lifecycle: Lifecycle, records: Any
) -> None:
    """The document in memory has what the database never got."""
    ann = Account(owner="ann", balance=1).save()
    with undone(mongo):
        ann.balance = 2
        ann.save()
    records()
    ann.balance = 3
    ann.save()
    assert [dict(record.changes) for record in records()] == [{"balance": Change(UNKNOWN, 3)}]


def test_what_was_loaded_in_a_transaction_that_was_rolled_back_is_not_known(
    mongo: Database[Any], lifecycle: Lifecycle, records: Any
) -> None:
    """It may have been written in that transaction."""
    Account(owner="ann", balance=1).save()
    with undone(mongo):
        mongo["account"].update_one({}, {"$set": {"balance": 2}})
        ann = Account.objects.get()
    records()
    ann.balance = 3
    ann.save()
    assert [dict(record.changes) for record in records()] == [{"balance": Change(UNKNOWN, 3)}]


def test_what_was_written_in_a_transaction_that_was_committed_is_known(
    mongo: Database[Any], lifecycle: Lifecycle, records: Any
) -> None:
    """As after any write."""
    with transaction(mongo):
        ann = Account(owner="ann", balance=1).save()
    records()
    ann.balance = 2
    ann.save()
    assert [dict(record.changes) for record in records()] == [{"balance": Change(1, 2)}]
