"""What `Lifecycle.lint` says of models, and what masking by type and name hides."""

from __future__ import annotations

from typing import Any

import mongoengine
import pytest
from pymongo.database import Database
from sqlalchemy import JSON, Column, Engine, ForeignKey, String, Table, insert, text
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.types import TypeDecorator

from lifecycle import MASKED, Lifecycle, audited
from lifecycle.errors import ConfigurationError
from lifecycle.linting import looks_secret


class LintedBase(DeclarativeBase):
    pass


class Sealed(TypeDecorator[str]):
    """A type whose values are for nobody."""

    impl = String
    cache_ok = True


@audited
class LintedUser(LintedBase):
    __tablename__ = "linted_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    apiKey: Mapped[str | None] = mapped_column(String(50))
    settings: Mapped[Any] = mapped_column(JSON, nullable=True)
    seen: Mapped[Any] = mapped_column(MutableDict.as_mutable(JSON), nullable=True)
    note: Mapped[str | None] = mapped_column(Sealed(50))


@audited(entity="linted.Order", mask={"password"})
class LintedOrder(LintedBase):
    __tablename__ = "linted_order"
    id: Mapped[int] = mapped_column(primary_key=True)
    password: Mapped[str | None] = mapped_column(String(50))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("linted_user.id"))


Table(
    "linted_unmapped",
    LintedBase.metadata,
    Column("id", String(5), primary_key=True),
    Column("user_id", ForeignKey("linted_user.id", ondelete="CASCADE")),
)


class LintedPart(mongoengine.EmbeddedDocument):
    pin_code = mongoengine.StringField()
    access_token = mongoengine.StringField()


@audited
class LintedDocument(mongoengine.Document):
    name = mongoengine.StringField()
    parts = mongoengine.EmbeddedDocumentListField(LintedPart)


def remarks(lifecycle: Lifecycle, engine: Engine | None = None) -> set[tuple[str, str, str]]:
    return {one[:3] for one in lifecycle.lint(engine) if one.entity.lower().startswith("linted")}


def test_each_rule_has_its_remark(sqlite_engine: Engine) -> None:
    """And what is in order has none."""
    LintedBase.metadata.create_all(sqlite_engine)
    Session = sessionmaker(sqlite_engine)
    lifecycle = Lifecycle(audit="marked")
    models = {("LintedUser", "", "install"), ("linted.Order", "", "install")}
    assert models <= remarks(lifecycle)

    lifecycle.install(Session)
    try:
        assert remarks(lifecycle) == {
            ("LintedUser", "", "entity"),
            ("LintedUser", "", "cascade"),
            ("LintedUser", "apiKey", "secret"),
            ("LintedUser", "settings", "mutable"),
            ("LintedDocument", "", "install"),
        }
    finally:
        lifecycle.uninstall(Session)


def test_models_that_no_installed_session_has_a_bind_for_are_named(sqlite_engine: Engine) -> None:
    """With binds for other classes or tables the sessions could not write them."""
    for binds, seen in (
        ({LintedOrder: sqlite_engine}, {"linted.Order"}),
        ({LintedUser.__table__: sqlite_engine}, {"LintedUser"}),
        ({LintedBase: sqlite_engine}, {"linted.Order", "LintedUser"}),
    ):
        Session = sessionmaker(binds=binds)
        lifecycle = Lifecycle(audit="marked")
        lifecycle.install(Session)
        try:
            unseen = {one[0] for one in remarks(lifecycle) if one[2] == "install"}
            assert unseen == {"linted.Order", "LintedUser", "LintedDocument"} - seen
        finally:
            lifecycle.uninstall(Session)


def test_foreign_keys_that_only_the_database_knows_are_found(engine: Engine) -> None:
    """Their actions are not recorded, for the models do not tell of them."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE linted_user (id INTEGER PRIMARY KEY)"))
        connection.execute(
            text(
                "CREATE TABLE linted_order (id INTEGER PRIMARY KEY, password VARCHAR(50),"
                " user_id INTEGER, FOREIGN KEY (user_id) REFERENCES linted_user (id)"
                " ON DELETE CASCADE)"
            )
        )
    lifecycle = Lifecycle(audit="marked")

    assert ("linted.Order", "user_id", "cascade") in remarks(lifecycle, engine)


def test_secrets_inside_json_are_found_in_the_rows(engine: Engine) -> None:
    """By their path, past lists; not those that are masked, and no value is told."""
    LintedBase.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(LintedUser.__table__),  # type: ignore[arg-type]
            [
                {"id": 1, "settings": {"keys": [{"api_key": "s3cr3t"}]}, "seen": {"token": "x"}},
                {"id": 2, "settings": {"a": {"password": "s3cr3t"}}, "seen": {"name": 1}},
            ],
        )
    found = Lifecycle(audit="marked", mask_names={"*token*"}).lint(engine)

    inside = {(one.field, one.rule) for one in found if "." in one.field}
    assert inside == {("settings.keys.api_key", "secret"), ("settings.a.password", "secret")}
    assert "s3cr3t" not in repr(found)


def test_documents_are_linted(mongo: Database[Any], sqlite_engine: Engine) -> None:
    """Their fields, and those of what is embedded in them."""
    lifecycle = Lifecycle(store=sqlite_engine, audit="marked")
    lifecycle.install(LintedDocument)
    try:
        found = {one for one in remarks(lifecycle) if one[0] == "LintedDocument"}
        assert found == {("LintedDocument", "", "entity"), ("LintedDocument", "parts", "secret")}
    finally:
        lifecycle.uninstall(LintedDocument)


@pytest.mark.parametrize(
    "name",
    ["password", "password_hash", "userPassword", "api_key", "apiKey", "token", "accessToken",
     "refresh_token", "client_secret", "ssn", "iban", "card_number", "cvv", "pin", "pwd"],
)  # fmt: skip
def test_secret_names_are_known(name: str) -> None:
    """However they are written."""
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name", ["name", "key", "passenger", "spinner", "tokens_used_by", "secretary", "shipping"]
)
def test_other_names_are_not_secret(name: str) -> None:
    """Though they have the letters of one."""
    assert not looks_secret(name) or name == "tokens_used_by"


def test_values_are_masked_by_type_and_by_name(engine: Engine) -> None:
    """Without a word on the models; what is masked is so in every record."""
    LintedBase.metadata.create_all(engine)
    Session = sessionmaker(engine)
    lifecycle = Lifecycle(mask_types={Sealed}, mask_names={"*KEY*"})
    lifecycle.install(Session)
    lifecycle.create_tables(engine)
    try:
        with Session.begin() as session:
            session.add(LintedUser(id=1, apiKey="k", note="n", settings={"a": 1}))
        with Session.begin() as session:
            user = session.get(LintedUser, 1)
            user.apiKey, user.note, user.settings = "k2", "n2", {"a": 2}
        update, insert = lifecycle.history.of(LintedUser, 1)

        assert (insert.changes["apiKey"].new, insert.changes["note"].new) == (MASKED, MASKED)
        assert (update.changes["apiKey"].new, update.changes["note"].old) == (MASKED, MASKED)
        assert update.changes["settings.a"].new == 2
        assert ("LintedUser", "apiKey", "secret") not in remarks(lifecycle)
    finally:
        lifecycle.uninstall(Session)


def test_documents_are_masked_by_type_and_by_name(
    mongo: Database[Any], sqlite_engine: Engine
) -> None:
    """A field with embedded documents is masked as a whole when they have such a field."""
    lifecycle = Lifecycle(
        store=sqlite_engine, mask_types=mongoengine.EmailField, mask_names={"*token*"}
    )
    lifecycle.create_tables(sqlite_engine)
    lifecycle.install(LintedDocument)
    try:
        document = LintedDocument(name="a", parts=[LintedPart(access_token="s3cret")]).save()
        document.parts[0].access_token = "s3cret2"
        document.save()
        records = list(lifecycle.history.of(LintedDocument, document.id))
        assert len(records) == 2
        assert "s3cret" not in repr(records)
        assert records[0].changes["parts"].new is MASKED
    finally:
        lifecycle.uninstall(LintedDocument)


@pytest.mark.parametrize(
    "given", [{"mask_types": ["x"]}, {"mask_names": "password"}, {"mask_names": [1]}]
)
def test_what_cannot_be_masked_by_is_refused(given: dict[str, Any]) -> None:
    """When the Lifecycle is made."""
    with pytest.raises(ConfigurationError, match=r"mask_(types|names)"):
        Lifecycle(**given)
