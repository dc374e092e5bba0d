"""What the command says when the databases of an application do not answer."""

from __future__ import annotations

import click
import pytest
from pymongo import MongoClient
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from lifecycle.cli.logs import told

CLOSED = 1
"""A port where nothing listens."""


def test_a_mongodb_that_does_not_answer_is_told_in_a_line() -> None:
    """Without the topology that its driver knows."""
    client = MongoClient[object]("127.0.0.1", CLOSED, serverSelectionTimeoutMS=50)
    with client, pytest.raises(click.ClickException) as raised, told():
        client.server_info()
    assert "refused" in raised.value.message
    assert "Topology" not in raised.value.message
    assert "check that it runs" in raised.value.message


def test_a_sql_database_that_does_not_answer_is_told_in_a_line() -> None:
    """Without the password it was asked with."""
    engine = create_engine(f"mysql+pymysql://somebody:hush@127.0.0.1:{CLOSED}/shop")
    with pytest.raises(click.ClickException, match="check that it runs") as raised, told():
        engine.connect()
    assert isinstance(raised.value.__cause__, OperationalError)
    assert "hush" not in raised.value.message


def test_what_is_a_fault_of_the_program_keeps_its_traceback() -> None:
    """It is to be reported."""
    with pytest.raises(KeyError), told():
        raise KeyError("no such thing")
