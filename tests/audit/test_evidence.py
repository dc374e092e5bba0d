"""Whatever is altered, removed, added or swapped after sealing is found, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, Table, delete, insert, select, text, update

from lifecycle.audit import sealing, verifying
from lifecycle.audit.attesting import attest
from lifecycle.audit.chain import Checkpoint, Tree
from lifecycle.audit.privacy import erase, prune
from lifecycle.audit.sealing import Sealed
from lifecycle.audit.stores.memory import MemoryStore
from lifecycle.audit.stores.mongo import MongoStore
from lifecycle.audit.stores.sql import SqlStore
from lifecycle.audit.verifying import Verdict, verify
from lifecycle.changes import Change, ChangeSet, Operation
from lifecycle.errors import ConfigurationError, EvidenceError, StoreError, TablesMissing
from lifecycle.markers import ABSENT
from lifecycle.testing.store_contract import DELTAS, a_revision, append
from tests.settling import settle
from tests.tampering import fast, restore_column, tampered, tampered_at_once

ELSEWHERE = "stores/test_mongo_evidence.py does this to documents"


def seal(store: Any, **options: Any) -> Sealed:
    """Seal all there is."""
    settle(store)
    return sealing.seal(store, **options)


@pytest.fixture
def sqlite_store(sqlite_engine: Engine) -> SqlStore:
    return a_store(sqlite_engine)


def a_mongo_store(database: Any) -> MongoStore:
    store = MongoStore(database)
    store.create_tables()
    return store


@pytest.fixture
def sql_store(engine: Engine) -> SqlStore:
    store = a_store(engine)
    if engine.dialect.name == "sqlite":
        fast(store)
    return store


def a_store(engine: Engine) -> SqlStore:
    store = SqlStore(engine)
    store.create_tables()
    return store


@pytest.fixture(params=["memory", "sqlite", "postgresql", "mysql", "mongodb"])
def any_store(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "mongodb":
        return a_mongo_store(request.getfixturevalue("mongo"))
    return a_store(request.getfixturevalue(f"{request.param}_engine"))


def fill(store: Any) -> None:
    """A log with every column set somewhere and missing elsewhere."""
    born = ChangeSet({"name": Change(ABSENT, "Ann"), "\ud800": Change(ABSENT, 1)}, Operation.INSERT)
    append(
        store,
        a_revision(
            actor="ann",
            actor_label="Ann E",
            reason="why",
            source="web",
            request_id="r1",
            context={"ip": "::1"},
            origin="node",
            group=uuid4(),
        ),
        {"operation": Operation.INSERT, "changes": born, "label": "One"},
        {"key": "2", "former_key": "1", "error": "oh", "cause": "cascade"},
    )
    append(store, a_revision())
    append(store, a_revision(actor="eve"), {"key": "2", "changes": ChangeSet(DELTAS)})


def sealed(store: Any) -> Any:
    """The same, sealed in two runs."""
    fill(store)
    seal(store)
    append(store, a_revision(actor="bob"), {"key": "3"}, {"key": "4"})
    seal(store)
    return store


def tables(store: SqlStore) -> dict[str, Table]:
    named = (store.tables.revision, store.tables.change, store.tables.seal, store.tables.leaf)
    return {table.name: table for table in named}


# --- an untouched log -----------------------------------------------------------------------


def test_an_untouched_log_is_intact(any_store: Any) -> None:
    """Everything is counted and nothing is found, seal after seal."""
    fill(any_store)
    first = seal(any_store)
    assert (first.revisions, first.records, first.seals) == (3, 3, 1)

    append(any_store, a_revision(), {})
    assert verify(any_store).intact, "what is not sealed yet is nobody's affair"
    second = seal(any_store)
    again = seal(any_store)

    verdict = verify(any_store)
    assert (again.seals, again.checkpoint) == (0, second.checkpoint)
    assert verdict.findings == []
    assert (verdict.seals, verdict.revisions, verdict.records) == (2, 4, 4)
    assert verdict.checkpoint == second.checkpoint


def test_a_log_that_was_never_sealed_cannot_be_verified(any_store: Any) -> None:
    """That there is nothing to compare with is said, and not taken for intact."""
    fill(any_store)
    with pytest.raises(EvidenceError, match="nothing has been sealed"):
        verify(any_store)


def test_an_older_log_without_the_tables_says_so(sqlite_store: SqlStore) -> None:
    """Sealing and verifying name the missing tables and what creates them."""
    with sqlite_store.engine.begin() as connection:
        for name in ("lifecycle_seal", "lifecycle_leaf", "lifecycle_hold"):
            connection.execute(text(f"DROP TABLE {name}"))
    append(sqlite_store, a_revision(), {})

    for job in (seal, verify):
        with pytest.raises(TablesMissing, match=r"lifecycle_seal.*lifecycle create-tables"):
            job(sqlite_store)
    sqlite_store.create_tables()
    seal(sqlite_store)
    assert verify(sqlite_store).intact


def test_a_large_revision_is_sealed_in_parts(
    any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revision of more records than a leaf takes is as safe as any, over all borders."""
    monkeypatch.setattr(sealing, "_PARTS", 3)
    monkeypatch.setattr(verifying, "_LEAVES", 2)
    monkeypatch.setattr(sealing, "REVISIONS", 2)
    for records in (7, 0, 1, 10, 2):
        append(any_store, a_revision(), *[{"key": str(n)} for n in range(records)])
    assert seal(any_store).seals == 3

    verdict = verify(any_store)

    assert verdict.findings == []
    assert (verdict.revisions, verdict.records) == (5, 20)


def test_two_jobs_at_once_take_turns(any_store: Any) -> None:
    """A second entry of the same number is refused; the first is whole."""
    fill(any_store)
    ledger = any_store.ledger
    begun = sealing.chained(None, "seal")
    seal(any_store)

    with pytest.raises(EvidenceError, match="take turns"), ledger.writing(begun):
        pass

    assert verify(any_store).intact


def test_jobs_at_the_same_time_are_no_finding(
    any_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is pruned and sealed while it is verified is taken as it is afterwards."""
    monkeypatch.setattr(verifying, "_LEAVES", 1)
    sealed(any_store)
    done: list[int] = []

    def meanwhile(count: int) -> None:
        done.append(count)
        if len(done) == 2:
            prune(any_store, entity="shop.Order", keep=1)
            append(any_store, a_revision(), {})
            seal(any_store)

    assert verify(any_store, progress=meanwhile).findings == []
    verdict = verify(any_store)
    assert (verdict.found, verdict.seals, verdict.acts) == (0, 3, 1)


def test_what_is_written_while_it_is_sealed_is_sealed_once(any_store: Any) -> None:
    """Whatever is committed in which order, no record is left out and none is sealed twice."""

    def write(number: int) -> None:
        for _ in range(10):
            append(any_store, a_revision(reason=str(number)), {}, {})

    total = 0
    with ThreadPoolExecutor(3) as threads:
        writers = [threads.submit(write, number) for number in range(3)]
        while not all(writer.done() for writer in writers):
            with suppress(StoreError):  # SQLite may be too busy to let it in
                total += sealing.seal(any_store).records
    for writer in writers:
        writer.result()
    total += seal(any_store).records

    assert total == 60
    verdict = verify(any_store)
    assert verdict.findings == []
    assert verdict.records == 60


def test_a_seal_that_fails_leaves_nothing(any_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that dies in the middle can be repeated."""
    fill(any_store)
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "finished", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            seal(any_store)

    assert seal(any_store).records == 3
    assert verify(any_store).intact


def test_a_store_without_a_ledger_is_named() -> None:
    """What cannot be sealed is an error that says what can."""
    store: Any = object()
    with pytest.raises(ConfigurationError, match="use a SQL database"):
        seal(store)


# --- tampering ------------------------------------------------------------------------------

TABLES = ["lifecycle_revision", "lifecycle_change", "lifecycle_seal", "lifecycle_leaf"]
COLUMNS = [
    (table.name, column.name)
    for table in tables(SqlStore("sqlite://")).values()
    for column in table.c
]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_every_edit_of_every_byte_is_found(sqlite_store: SqlStore, table: str, column: str) -> None:
    """Each byte of each value of each column, one at a time; put back, the log is intact."""
    fast(sqlite_store)
    edits = list(tampered(sealed(sqlite_store), tables(sqlite_store)[table], column, every=True))
    assert edits
    assert [edit for edit, verdict in edits if verdict.intact] == []
    assert verify(sqlite_store).findings == []


@pytest.mark.parametrize("table", ["lifecycle_revision", "lifecycle_change"])
def test_every_edit_of_every_byte_is_found_on_every_database(engine: Engine, table: str) -> None:
    """Each in a record of its own, all at once: every record is named, and no other."""
    store = a_store(engine)
    born = ChangeSet({"name": Change(ABSENT, "Ann"), "\ud800": Change(ABSENT, 1)}, Operation.INSERT)
    for n in range(EDITS):
        who = {"actor": "ann", "actor_label": "Ann E", "reason": "why", "source": "web"}
        where = {"request_id": f"r{n}", "context": {"ip": "::1"}, "origin": "node"}
        append(
            store,
            a_revision(group=uuid4(), **who, **where),
            {"operation": Operation.INSERT, "changes": born, "label": "One", "former_key": "0",
             "error": "oh", "cause": "cascade"},
        )  # fmt: skip
    seal(store)
    found = tables(store)[table]
    for column in found.c:
        if column.primary_key:
            continue  # see below: it would be another record
        expected = tampered_at_once(store, found, column)
        assert expected, column.name
        verdict = verify(store)
        assert {one.seq for one in verdict.findings} == expected, column.name
        assert {one.what for one in verdict.findings} <= {"altered", "unreadable"}
        restore_column(store, found, column)
    assert verify(store).findings == []


EDITS = 130
"""More than any value there has of edits."""


@pytest.mark.parametrize("server", ["postgresql", "mysql"])
@pytest.mark.parametrize("table", TABLES)
def test_edits_of_keys_and_evidence_are_found_on_servers(
    request: pytest.FixtureRequest, server: str, table: str
) -> None:
    """Every column of the seals and leaves, and the keys of the log, a byte each."""
    store = sealed(a_store(request.getfixturevalue(f"{server}_engine")))
    for column in tables(store)[table].c:
        if table in ("lifecycle_revision", "lifecycle_change") and not column.primary_key:
            continue
        edits = list(tampered(store, tables(store)[table], column.name, every=False))
        assert edits, column.name
        assert [edit for edit, verdict in edits if verdict.intact] == []
    assert verify(store).findings == []


def change(store: SqlStore, work: Callable[[Connection], Any]) -> Verdict:
    """Verify after some work on the tables."""
    with store.engine.begin() as connection:
        work(connection)
    return verify(store)


def test_an_altered_record_is_named(any_store: Any) -> None:
    """The finding says which record of which revision, of which object."""
    sealed(any_store)
    if isinstance(any_store, MemoryStore):
        any_store._records[1] = replace(any_store._records[1], label="Other")
    elif isinstance(any_store, MongoStore):
        any_store._log.update_one({"seq": 1, "n": 1}, {"$set": {"label": "x"}})
    else:
        table = any_store.tables.change
        with any_store.engine.begin() as connection:
            connection.execute(
                update(table).where(table.c.n == 1, table.c.seq == 1).values(label="x")
            )
    verdict = verify(any_store)

    [finding] = verdict.findings
    assert (finding.what, finding.seq, finding.n) == ("altered", 1, 1)
    assert str(finding).startswith("altered: record 1 of revision 1 (shop.Order 2): ")


@pytest.mark.parametrize("table", ["revision", "change", "seal", "leaf"])
def test_every_deletion_is_found(sql_store: SqlStore, table: str) -> None:
    """Of any one row of any of the tables."""
    sealed(sql_store)
    one = getattr(sql_store.tables, table)
    checkpoint = verify(sql_store).checkpoint
    assert checkpoint is not None
    with sql_store.engine.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(one))]
    keys = [key.name for key in one.primary_key.columns]
    for row in rows:
        there = {name: row[name] for name in keys}
        verdict = change(sql_store, lambda c, t=there: c.execute(delete(one).filter_by(**t)))
        assert not verdict.intact, row
        change(sql_store, lambda c, r=row: c.execute(insert(one), r))
    assert verify(sql_store).intact


def test_every_swap_is_found(sql_store: SqlStore) -> None:
    """Two rows that change places, in any of the tables, whole or but for their keys."""
    sealed(sql_store)
    found = sql_store.tables
    for table in (found.revision, found.change, found.seal, found.leaf):
        keys = [key.name for key in table.primary_key.columns]
        with sql_store.engine.connect() as connection:
            rows = [dict(row._mapping) for row in connection.execute(select(table))]
        for first, second in pairwise(rows):
            one = {**second, **{key: first[key] for key in keys}}
            other = {**first, **{key: second[key] for key in keys}}

            def put(
                connection: Connection, *given: Any, table: Table = table, keys: Any = keys
            ) -> None:
                for row in given:
                    there = {name: row[name] for name in keys}
                    connection.execute(delete(table).filter_by(**there))
                for row in given:
                    connection.execute(insert(table), row)

            verdict = change(sql_store, lambda c, a=one, b=other, put=put: put(c, a, b))
            assert not verdict.intact, (table.name, first, second)
            change(sql_store, lambda c, a=first, b=second, put=put: put(c, a, b))
    assert verify(sql_store).findings == []


def test_insertions_are_found(any_store: Any) -> None:
    """A record added to a sealed revision, a revision in between, and a record without any."""
    sealed(any_store)
    if isinstance(any_store, MemoryStore):
        pytest.skip("its lists are nobody's to insert into")
    if isinstance(any_store, MongoStore):
        pytest.skip(ELSEWHERE)
    tables = any_store.tables
    row = {"entity": "E", "key": "1", "operation": "update", "changes": "{}", "format": 1}
    extra = insert(tables.change).values(seq=1, n=9, **row)
    verdict = change(any_store, lambda c: c.execute(extra))
    assert [(one.what, one.seq, one.n) for one in verdict.findings] == [("inserted", 1, 9)]

    orphan = insert(tables.change).values(seq=77, n=0, **row)
    verdict = change(any_store, lambda c: c.execute(orphan))
    assert ("inserted", 77, 0) in [(one.what, one.seq, one.n) for one in verdict.findings]

    values = {"seq": 0, "id": uuid4(), "at": a_revision().at, "context": "{}", "horizon": 1}
    if any_store.engine.dialect.name == "mysql":
        values["seq"] = -1
    verdict = change(any_store, lambda c: c.execute(insert(tables.revision), values))
    assert ("inserted", values["seq"], None) in [
        (one.what, one.seq, one.n) for one in verdict.findings
    ]


def test_a_truncated_log_is_found(sql_store: SqlStore) -> None:
    """Without its last records, seals and leaves; all of them together by a checkpoint."""
    sealed(sql_store)
    checkpoint = verify(sql_store).checkpoint
    assert checkpoint is not None
    tables = sql_store.tables
    assert not change(
        sql_store, lambda c: c.execute(delete(tables.change).where(tables.change.c.seq == 4))
    ).intact
    assert not change(
        sql_store, lambda c: c.execute(delete(tables.revision).where(tables.revision.c.seq == 4))
    ).intact
    assert not change(
        sql_store, lambda c: c.execute(delete(tables.seal).where(tables.seal.c.number == 2))
    ).intact
    assert change(
        sql_store, lambda c: c.execute(delete(tables.leaf).where(tables.leaf.c.seal == 2))
    ).intact, "nothing is left inside that could tell"

    verdict = verify(sql_store, checkpoints=[checkpoint])

    assert [str(one) for one in verdict.findings] == [
        "chain: entry 2: the checkpoint is of an entry that is gone"
    ]


def remove_seals(store: Any, *, leaves: bool) -> None:
    """As whoever may write to the database could."""
    if isinstance(store, MemoryStore):
        store._evidence.entries.clear()
        if leaves:
            store._evidence.leaves.clear()
    elif isinstance(store, MongoStore):
        for name in ("seal", "leaf") if leaves else ("seal",):
            store.database[f"lifecycle_{name}"].delete_many({})
    else:
        with store.engine.begin() as connection:
            connection.execute(delete(store.tables.seal))
            if leaves:
                connection.execute(delete(store.tables.leaf))


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_log_without_its_seals_is_not_taken_for_one_never_sealed(
    any_store: Any, leaves: bool, recorded: bool
) -> None:
    """What is left of the leaves tells of them, a recorded verification, and a checkpoint."""
    checkpoint = verify(sealed(any_store)).checkpoint
    assert checkpoint is not None
    if recorded:
        attest(any_store, verify(any_store))
        attest(any_store, Verdict(found=1))  # which saw none
    remove_seals(any_store, leaves=leaves)

    if leaves and not recorded:
        with pytest.raises(EvidenceError, match="nothing has been sealed"):
            verify(any_store)
    else:
        found = [str(one) for one in verify(any_store).findings]
        assert len(found) == recorded + (not leaves)
        assert all(one.startswith("chain: all seals: they are gone: re") for one in found)

    [first, *_] = verify(any_store, checkpoints=[checkpoint]).findings
    assert str(first) == "chain: entry 2: the checkpoint is of an entry that is gone"


def test_what_an_act_removed_is_missed_without_seals_and_leaves(sqlite_store: SqlStore) -> None:
    """Its entry tells how much it was."""
    erase(sealed(sqlite_store), actor="ann")
    seals = sqlite_store.tables.seal
    with sqlite_store.engine.begin() as connection:
        connection.execute(delete(seals).where(seals.c.kind == "seal"))
        connection.execute(delete(sqlite_store.tables.leaf))
    assert {one.where for one in verify(sqlite_store).findings} == {"entry 3"}


def test_a_log_that_was_written_anew_is_found_by_a_checkpoint(sqlite_store: SqlStore) -> None:
    """Everything altered and sealed again agrees with itself, and not with what was kept."""
    kept = Checkpoint.read(seal_and_text(sqlite_store))
    tables = sqlite_store.tables
    with sqlite_store.engine.begin() as connection:
        connection.execute(update(tables.change).values(label="forged"))
        connection.execute(delete(tables.seal))
        connection.execute(delete(tables.leaf))
    seal(sqlite_store)

    assert verify(sqlite_store).intact
    assert not verify(sqlite_store, checkpoints=[kept]).intact


def seal_and_text(store: SqlStore) -> str:
    fill(store)
    checkpoint = seal(store).checkpoint
    assert checkpoint is not None
    return checkpoint.text()


def test_bytes_that_are_no_text_are_found(sqlite_store: SqlStore) -> None:
    """A value that cannot even be read is a finding with its place, not a crash."""
    sealed(sqlite_store)
    broken = text("UPDATE lifecycle_change SET label = CAST(x'ff41' AS TEXT) WHERE seq = 3")
    verdict = change(sqlite_store, lambda c: c.execute(broken))

    assert [(one.what, one.seq) for one in verdict.findings] == [("unreadable", 3)]


def test_a_leaf_that_cannot_be_read_is_found(sqlite_store: SqlStore) -> None:
    """And the other leaves are compared nevertheless."""
    sealed(sqlite_store)
    leaf = sqlite_store.tables.leaf
    verdict = change(
        sqlite_store, lambda c: c.execute(update(leaf).where(leaf.c.seq == 4).values(parts=b"x"))
    )
    assert {one.what for one in verdict.findings} == {"unreadable", "chain"}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"number":"x"}'])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """With a word on what would be one."""
    with pytest.raises(EvidenceError, match="no checkpoint"):
        Checkpoint.read(text)


def test_a_tree_has_one_root_for_each_sequence_of_leaves() -> None:
    """Another order, another number, a leaf twice: each gives another root."""
    leaves = [bytes([n]) * 32 for n in range(6)]

    def root(*places: int) -> str:
        tree = Tree()
        for place in places:
            tree.add(leaves[place])
        return tree.root

    roots = [root(*range(n)) for n in range(7)] + [root(1, 0), root(0, 0), root(0, 1, 1)]
    assert len(set(roots)) == len(roots)


# --- signatures -----------------------------------------------------------------------------

KEY = "11" * 32


def test_signatures_are_checked(sqlite_store: SqlStore) -> None:
    """Every entry is signed; a forged, a missing and a foreign signature are found."""
    pytest.importorskip("cryptography")
    fill(sqlite_store)
    checkpoint = seal(sqlite_store, key=KEY).checkpoint
    assert checkpoint is not None
    assert checkpoint.signer is not None

    assert verify(sqlite_store, trusted=[checkpoint.signer]).intact
    assert not verify(sqlite_store, trusted=["22" * 32]).intact
    table = sqlite_store.tables.seal
    for column in ("signature", "signer"):
        for edit, verdict in tampered(sqlite_store, table, column, every=True):
            assert not verdict.intact, edit
    append(sqlite_store, a_revision(), {})
    seal(sqlite_store)
    verdict = verify(sqlite_store, trusted=[checkpoint.signer])
    assert [str(one) for one in verdict.findings] == ["chain: entry 2: it is not signed"]


@pytest.mark.parametrize("key", ["zz", "", "1" * 63, "g" * 64, f"{'1' * 64}\n"])
def test_a_key_to_trust_that_is_none_is_refused(key: str) -> None:
    """At once, and with what is expected; nobody takes it for one that nothing was signed with."""
    for trusted in ([key], key):
        with pytest.raises(ConfigurationError, match="no Ed25519 public key: give 64 hexadecimal"):
            verify(MemoryStore(), trusted=trusted)


def test_a_signing_key_that_is_none_is_refused(sqlite_store: SqlStore) -> None:
    """Without showing it."""
    pytest.importorskip("cryptography")
    for key in ("x" * 64, b"123"):
        with pytest.raises(ConfigurationError, match="no Ed25519 private key") as caught:
            seal(sqlite_store, key=key)
        assert "xxx" not in str(caught.value)


def test_signing_without_cryptography_says_what_to_install(
    sqlite_store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And sealing without a key does not need it."""
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    fill(sqlite_store)
    with pytest.raises(ConfigurationError, match=r"lifecycle-audit\[sign\]"):
        seal(sqlite_store, key=KEY)
    seal(sqlite_store)
