"""How statements past the unit of work are recorded: the policy, and what is counted instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    String,
    Table,
    delete,
    insert,
    join,
    select,
    text,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    mapped_column,
    sessionmaker,
)

from lifecycle import ABSENT, MASKED, UNKNOWN, Change, Lifecycle, audited, not_audited, pre_persist
from lifecycle.changes import Operation
from lifecycle.coverage import Gaps, Unrecorded
from lifecycle.errors import ConfigurationError, ForbiddenWrite, UnrecordedWriteWarning
from lifecycle.mappers.sqlalchemy.raw_sql import shape_of, tables_written
from lifecycle.moments import PrePersist

Start = Callable[[], sessionmaker[Session]]


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    """The policy does not depend on the database."""
    return sqlite_engine


def user_model(base: type[DeclarativeBase], decorate: Any = lambda cls: cls) -> Any:
    @decorate
    class User(base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None] = mapped_column(String(50))
        secret: Mapped[str | None] = mapped_column(String(50))

    return User


def started(start: Start, user: Any) -> sessionmaker[Session]:
    factory = start()
    with factory.begin() as session:
        session.add_all([user(name="a"), user(name="b")])
    return factory


class TestStatement:
    """One record for the statement."""

    def test_it_tells_the_statement_the_rows_and_what_was_set(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """Never a value of its criteria; masked fields stay masked."""
        user = user_model(base, audited(bulk="statement", mask={"secret"}))
        factory = started(start, user)
        with factory.begin() as session:
            session.execute(update(user).where(user.name == "a").values(name="x", secret="s"))
        (record,) = lifecycle.history.find(operation=Operation.BULK)
        assert (record.entity, record.key) == ("User", "")
        text_of = record.changes.new("$statement")
        assert text_of.startswith("UPDATE users SET name=")
        assert "'a'" not in text_of
        assert dict(record.changes) == {
            "$verb": Change(ABSENT, "update"),
            "$statement": Change(ABSENT, text_of),
            "$rows": Change(ABSENT, 1),
            "name": Change(UNKNOWN, "x"),
            "secret": Change(MASKED, MASKED),
        }

    def test_what_it_may_have_changed_is_unknown_afterwards(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """The log cannot tell which objects were hit, and does not guess."""
        user = user_model(base, audited(bulk="statement"))
        factory = started(start, user)
        with factory.begin() as session:
            session.execute(update(user).values(name="x"))
        (record, *_) = lifecycle.history.find()
        state = lifecycle.history.as_of(user, 1, record)
        assert state is not None
        assert dict(state.values) == {"id": 1, "name": UNKNOWN, "secret": None}
        assert lifecycle.history.snapshot(user)["2"].values["name"] is UNKNOWN
        with factory.begin() as session:
            session.execute(insert(user), [{"name": "c"}, {"name": "d"}])
        (record, *_) = lifecycle.history.find()
        assert record.changes.new("$rows") == 2
        assert lifecycle.history.snapshot(user)["1"].values["id"] == 1
        with factory.begin() as session:
            session.execute(delete(user))
        assert lifecycle.history.snapshot(user)["1"].values["id"] is UNKNOWN


class TestPolicy:
    def test_forbidden_statements_raise_and_change_nothing(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """The session stays usable, and objects can still be changed one by one."""
        user = user_model(base, audited(bulk="forbid"))
        factory = started(start, user)
        with factory.begin() as session:
            with pytest.raises(ForbiddenWrite, match=r"update of users is forbidden.*rows"):
                session.execute(update(user).values(name="x"))
            session.get_one(user, 1).name = "y"
        assert sorted(record.operation for record in lifecycle.history.find()) == [
            "insert",
            "insert",
            "update",
        ]

    def test_switched_off_ones_are_counted_and_nothing_else(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """No record, no warning."""
        user = user_model(base, audited(bulk="off"))
        factory = started(start, user)
        with factory.begin() as session:
            session.execute(update(user).values(name="x"))
            session.execute(update(user).values(name="y"))
        assert len(list(lifecycle.history.find())) == 2
        assert lifecycle.coverage().unrecorded == (
            Unrecorded(("User",), "update of users", "bulk off", 2),
        )

    def test_a_block_counts_for_the_statements_in_it(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """Before what the model says, and after what the statement says."""
        user = user_model(base, audited(bulk="forbid"))
        factory = started(start, user)
        with factory.begin() as session, lifecycle.bulk("off"):
            session.execute(update(user).values(name="x"))
            rows = {"lifecycle_bulk": "rows"}
            session.execute(update(user).values(name="y"), execution_options=rows)
        with factory.begin() as session, pytest.raises(ForbiddenWrite):
            session.execute(update(user).values(name="z"))
        found = list(lifecycle.history.find(operation=Operation.UPDATE))
        assert [one.changes["name"] for one in found] == [Change("x", "y")] * 2

    def test_a_call_has_the_last_word(self, base: Any, start: Start, lifecycle: Lifecycle) -> None:
        """An execution option counts for its statement alone."""
        user = user_model(base, audited(bulk="forbid"))
        factory = started(start, user)
        with factory.begin() as session:
            everyone = update(user).values(name="x")
            session.execute(everyone, execution_options={"lifecycle_bulk": "rows"})
            with pytest.raises(ConfigurationError, match=r"lifecycle_bulk='none'.*rows, statement"):
                session.execute(everyone, execution_options={"lifecycle_bulk": "none"})
        assert len(list(lifecycle.history.find(operation="update"))) == 2

    def test_a_lifecycle_has_a_policy_for_models_without_one(
        self, base: Any, engine: Engine
    ) -> None:
        """It is checked when it is given."""
        user = user_model(base)
        base.metadata.create_all(engine)
        lifecycle, factory = Lifecycle(bulk="forbid"), sessionmaker(engine)
        lifecycle.create_tables(engine)
        lifecycle.install(factory)
        with factory.begin() as session, pytest.raises(ForbiddenWrite):
            session.execute(update(user).values(name="x"))
        lifecycle.uninstall(factory)
        with pytest.raises(ConfigurationError, match=r"bulk='all' is not known"):
            Lifecycle(bulk="all")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=r"bulk='all'\) is not known"):
            audited(bulk="all")  # type: ignore[call-overload]

    def test_suppressed_statements_are_not_recorded(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """As flushes are not; nor does a forbidden one raise."""
        user = user_model(base, audited(bulk="forbid"))
        factory = started(start, user)
        with lifecycle.suppressed(), factory.begin() as session:
            session.execute(update(user).values(name="x"))
            session.execute(text("UPDATE users SET name = 'y'"))
        assert len(list(lifecycle.history.find())) == 2

    def test_models_that_are_not_audited_are_left_alone(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """Their statements run as they always did."""
        user = user_model(base, not_audited)
        factory = started(start, user)
        with factory.begin() as session:
            session.execute(update(user).values(name="x"))
            session.execute(text("UPDATE users SET name = 'y'"))
        assert lifecycle.coverage().unrecorded == ()
        assert "User" in lifecycle.coverage().not_recorded
        assert "User" not in lifecycle.coverage().recorded


class TestRawSql:
    @pytest.mark.parametrize("way", ["session", "connection", "driver"])
    def test_text_that_writes_to_a_recorded_table_is_counted_and_told_once(
        self, way: str, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """However it is executed; its values are not repeated."""
        user = user_model(base)
        factory = started(start, user)

        def execute(session: Session, value: str) -> None:
            statement = f"UPDATE users SET name = '{value}' WHERE id = 1"
            if way == "session":
                session.execute(text(statement))
            elif way == "connection":
                session.connection().execute(text(statement))
            else:
                session.connection().exec_driver_sql(statement)

        with factory.begin() as session:
            with pytest.warns(UnrecordedWriteWarning, match=r"SET name = \? WHERE") as warned:
                execute(session, "secret")
            assert "secret" not in str(warned[0].message)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                execute(session, "other")
        (gap,) = lifecycle.coverage().unrecorded
        assert (gap.entities, gap.times) == (("User",), 2)
        assert gap.what == "UPDATE users SET name = ? WHERE id = ?"

    def test_text_that_reads_or_names_other_tables_is_nothing(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """No warning, no count."""
        user = user_model(base)
        factory = started(start, user)
        with factory.begin() as session:
            session.execute(text("SELECT * FROM users"))
            session.execute(text("CREATE TABLE others (id INTEGER)"))
            session.execute(text("INSERT INTO others VALUES (1)"))
        assert lifecycle.coverage().unrecorded == ()

    @pytest.mark.parametrize(
        ("statement", "found"),
        [
            ("delete from users", {"users"}),
            ('INSERT INTO "Users" (x) VALUES (1)', {"users"}),
            ("with gone as (delete from shop.users returning id) select * from gone", {"users"}),
            ("/* update users */ select 1", set()),
            ("select name from users -- delete", {"users"}),
            ("update accounts set user = 1", set()),
            ("TRUNCATE users", {"users"}),
        ],
    )
    def test_words_and_names_decide(self, statement: str, found: set[str]) -> None:
        """Better one statement too many than one too few."""
        assert tables_written(statement, {"users", "tags"}) == found

    def test_the_shape_of_a_text_has_no_values(self) -> None:
        """Neither texts nor numbers, nor comments; and it is not long."""
        shape = shape_of("UPDATE users  SET a = 'it''s', b = 1.5 /* note */ WHERE id IN (1, 2)")
        assert shape == "UPDATE users SET a = ?, b = ? WHERE id IN (?, ?)"
        assert len(shape_of("x" * 10_000)) < 400

    @pytest.mark.parametrize(
        ("statement", "of_mysql"),
        [
            ("UPDATE users SET a = 'it''s secret'", False),
            (r"UPDATE users SET a = E'it\'s secret'", False),
            ("UPDATE users SET a = $$it's secret$$", False),
            ("UPDATE users SET a = $x$it's $$ secret$x$", False),
            ("UPDATE users SET a = 'x -- y',\n b = 'secret'", False),
            ("UPDATE users SET a = 'x /* y', b = 'secret' /* don't */", False),
            ("UPDATE users -- don't\n SET a = 'secret'", False),
            ("UPDATE users SET a = 'secret", False),
            ('UPDATE users SET a = "secret"', True),
            (r"UPDATE users SET a = 'it\'s secret'", True),
            ("UPDATE users # don't\n SET a = 'secret'", True),
            ("""UPDATE users SET a = 'say "hi', b = "secret" """, True),
        ],
    )
    def test_no_way_to_quote_a_value_gives_it_away(self, statement: str, of_mysql: bool) -> None:
        """A shape goes to warnings and counts, where a secret has no business."""
        shape = shape_of(statement, of_mysql=of_mysql)
        assert shape.startswith("UPDATE users SET a = ?")
        assert "secret" not in shape

    def test_names_in_double_quotes_stay(self) -> None:
        """Which standard SQL has for names, not for texts."""
        assert (
            shape_of("""DELETE FROM "users" WHERE a = 'b'""") == 'DELETE FROM "users" WHERE a = ?'
        )


class TestWhatCannotBeRecorded:
    """Told once and counted, never silently missed."""

    @pytest.fixture
    def user(self, base: Any) -> Any:
        return user_model(base)

    @pytest.fixture
    def factory(self, start: Start, user: Any) -> sessionmaker[Session]:
        return started(start, user)

    def test_a_statement_inside_another_one(
        self, user: Any, factory: Any, lifecycle: Lifecycle
    ) -> None:
        """As PostgreSQL has it; the text is enough to know."""
        gone = delete(user.__table__).returning(user.__table__.c.id).cte("gone")
        with factory.begin() as session:
            warned = pytest.warns(UnrecordedWriteWarning, match="part of another statement")
            with warned, pytest.raises(OperationalError):  # SQLite does not know it
                session.execute(select(gone.c.id))
        assert [gap.what for gap in lifecycle.coverage().unrecorded] == ["delete of users"]

    def test_a_statement_with_schemas_of_its_own(
        self, user: Any, factory: Any, lifecycle: Lifecycle
    ) -> None:
        """Its rows would be looked for elsewhere; those of the whole connection are fine."""
        schemas = {"schema_translate_map": {"other": None}}
        with factory.begin() as session:
            with pytest.warns(UnrecordedWriteWarning, match="schema_translate_map of its own"):
                session.execute(update(user).values(name="x"), execution_options=schemas)
            session.connection().execution_options(**schemas)
            session.execute(update(user).values(name="y"))
        assert len(list(lifecycle.history.find(operation="update"))) == 2

    def test_a_part_of_what_a_class_is_mapped_to(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """The other part of the row says which object it is of, if there is one."""
        one = Table("one_half", base.metadata, Column("id", Integer, primary_key=True))
        other = Table(
            "other_half",
            base.metadata,
            Column("id", ForeignKey("one_half.id"), primary_key=True),
            Column("name", String(20)),
        )

        class Halved(base):
            __table__ = join(one, other)
            id = column_property(one.c.id, other.c.id)

        factory = start()
        with factory.begin() as session:
            session.add(Halved(id=1, name="a"))
        warned = pytest.warns(UnrecordedWriteWarning, match="a part of what a class is mapped to")
        with factory.begin() as session, warned:
            session.execute(other.update().values(name="b"))
        (gap,) = lifecycle.coverage().unrecorded
        assert (gap.entities, gap.what) == (("Halved",), "update of other_half")

    def test_an_insert_whose_rows_cannot_be_found_again(
        self, base: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """A conflict clause on a table without any key that the statement names."""
        user = user_model(base)
        factory = started(start, user)
        statement = sqlite.insert(user).values(name="x").on_conflict_do_nothing()
        with factory.begin() as session:
            warned = pytest.warns(UnrecordedWriteWarning, match="cannot be told from others")
            with warned:
                session.execute(statement)


def test_a_label_that_needs_more_than_the_row_is_left_out(
    base: Any, start: Start, lifecycle: Lifecycle
) -> None:
    """Of rows without an object it is made from their columns."""
    user = user_model(base, audited(label=lambda one: f"{one.name}!"))
    factory = started(start, user)
    with factory.begin() as session:
        session.execute(update(user).where(user.id == 1).values(name="x"))
    (record, *_) = lifecycle.history.find()
    assert record.label == "x!"


def test_only_so_many_shapes_are_told_apart() -> None:
    """A program that writes its values into its statements does not fill the memory."""
    gaps = Gaps()
    for number in range(Gaps.MOST + 10):
        gaps.note(["User"], f"statement {number}", "why")
    found = gaps.all()
    assert len(found) == Gaps.MOST + 1
    assert sum(one.times for one in found) == Gaps.MOST + 10
    assert any(one.times == 10 for one in found)


class TestAfterAFlushOfNothing:
    """A flush that finds nothing to write does not count as going on."""

    @pytest.fixture
    def user(self, base: type[DeclarativeBase]) -> Any:
        return user_model(base)

    def test_of_objects_without_changes(
        self, user: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """SQLAlchemy ends such a flush without a word."""
        factory = started(start, user)
        with factory() as session:
            clean, changed = session.get_one(user, 1), session.get_one(user, 2)
            changed.name = "x"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SQLAlchemy's, of flushing some objects only
                session.flush([clean])
            session.bulk_insert_mappings(user, [{"name": "c"}, {"name": "d"}])
            session.bulk_update_mappings(user, [{"id": 1, "name": "y"}])
            session.commit()
        keys = [record.key for record in lifecycle.history.find(newest_first=False)]
        assert keys == ["1", "2", "3", "4", "1", "2"]

    def test_whose_objects_a_hook_has_taken_out_of_the_session(
        self, user: Any, start: Start, lifecycle: Lifecycle
    ) -> None:
        """Then nothing is left to write either."""
        factory = started(start, user)

        @lifecycle.subscribe
        @pre_persist(user)
        def take_out(event: PrePersist) -> None:
            event.session.expunge(event.instance)

        with factory() as session:
            session.add(user(name="x"))
            session.flush()
            session.bulk_insert_mappings(user, [{"name": "c"}])
            session.commit()
        keys = [record.key for record in lifecycle.history.find(newest_first=False)]
        assert keys == ["1", "2", "3"]
