"""A behaviour declared on a model becomes hooks of it, and tells what it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from mongoengine import fields
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from lifecycle import Veto, pre_persist, pre_update
from lifecycle.behaviours import Behaviour, behaviours_of, declare
from lifecycle.errors import ConfigurationError
from lifecycle.hooks import model_hooks
from tests.behaviours.conftest import World

ROOT = Path(__file__).parent.parent.parent


def shouted(field: str, mark: str = "!") -> Callable[[Any], Any]:
    """A behaviour for the tests: the text in a field is shouted."""

    @pre_persist
    @pre_update(when=field)
    def shout(self: Any, event: Any) -> None:
        if event.changes.new(field) == "hush":
            event.veto("it is to be loud")
        event.changes.set(field, event.changes.new(field).rstrip(mark) + mark)

    def decorator(cls: Any) -> Any:
        behaviour = Behaviour("shouted", field, {"field": field, "mark": mark}, frozenset({field}))
        declare(cls, behaviour, [shout])
        return cls

    return decorator


def test_its_functions_are_hooks_of_the_model(mapper: World) -> None:
    """What a behaviour puts on a model runs for both mappers as a hook of its own does."""
    speech = mapper.model("Speech", shouted("text"), text="text", calm="text")
    mapper.install()
    identifier = mapper.new(speech, text="Hear, hear", calm="quite")
    assert mapper.read(speech, identifier, "text", "calm") == ("Hear, hear!", "quite")
    mapper.edit(speech, identifier, text="Order")
    assert mapper.read(speech, identifier, "text") == "Order!"
    with pytest.raises(Veto, match=r"Speech\.shouted\(text\)\.shout refused to update Speech"):
        mapper.edit(speech, identifier, text="hush")


def test_a_subclass_inherits_it_and_may_declare_it_anew(mapper: World) -> None:
    """On a mixin it is for all models; declared again, the nearer declaration counts alone."""

    @shouted("text")
    @shouted("aside")
    class Loud:
        pass

    plain = mapper.model("PlainSpeech", mixin=Loud, text="text", aside="text")
    asking = mapper.model("Question", shouted("text", "?"), mixin=Loud, text="text", aside="text")
    mapper.install()
    first = mapper.new(plain, text="a", aside="b")
    assert mapper.read(plain, first, "text", "aside") == ("a!", "b!")
    second = mapper.new(asking, text="a", aside="b")
    assert mapper.read(asking, second, "text", "aside") == ("a?", "b!")
    assert [str(one) for one in behaviours_of(asking)] == [
        "shouted(field='aside', mark='!')",
        "shouted(field='text', mark='?')",
    ]
    assert [hook.name.rpartition("<locals>.")[2] for hook in model_hooks(plain)] == [
        "Loud.shouted(aside).shout",
        "Loud.shouted(aside).shout",
        "Loud.shouted(text).shout",
        "Loud.shouted(text).shout",
    ]


def test_a_field_that_the_model_lacks_is_an_error_where_it_is_declared(mapper: World) -> None:
    """The error names the model, the field and what it has, before anything is installed."""
    with pytest.raises(ConfigurationError) as caught:
        mapper.model("Mute", shouted("words"), text="text")
    message = "shouted(field='words', mark='!') of Mute is about 'words', which is no field of it"
    assert message in str(caught.value)
    assert "id, text" in str(caught.value)


def test_of_a_mixin_it_is_an_error_when_it_is_installed(mapper: World) -> None:
    """A mixin may leave its fields to the models, so they are checked when they are known."""

    @shouted("words")
    class Worded:
        pass

    model = mapper.model("Wordless", mixin=Worded, text="text")
    with pytest.raises(ConfigurationError, match="of Wordless is about 'words'"):
        mapper.install()
    assert behaviours_of(model)  # and is still there to be checked


def test_the_same_twice_is_an_error() -> None:
    """One of two declarations on a class could have no effect."""
    with pytest.raises(ConfigurationError, match=r"Twice declares @shouted of 'text' twice"):

        @shouted("text")
        @shouted("text", "?")
        class Twice:
            pass


def test_an_embedded_document_cannot_have_one() -> None:
    """It has no moments of its own, so nothing would ever run."""

    class Phrase(mongoengine.EmbeddedDocument):
        text = fields.StringField()

    with pytest.raises(ConfigurationError, match="Phrase would never run, for an embedded"):
        shouted("text")(Phrase)


def test_only_classes_and_marked_functions_can_be_declared() -> None:
    """Anything else could never run, and is told at once."""
    with pytest.raises(ConfigurationError, match="decorates model classes, not 'Speech'"):
        shouted("text")("Speech")

    def unmarked(self: Any) -> None:
        raise AssertionError

    with pytest.raises(ConfigurationError, match="is not marked for any moment"):
        declare(type("Some", (), {}), Behaviour("shouted"), [unmarked])


def test_models_without_behaviours_have_none(base_of_none: Any) -> None:
    """Nothing is put on them, and nothing is called for them."""
    assert behaviours_of(base_of_none) == ()
    assert model_hooks(base_of_none) == []


@pytest.fixture
def base_of_none() -> Any:
    """A mapped class without anything."""

    class Base(DeclarativeBase):
        pass

    class Unadorned(Base):
        __tablename__ = "unadorned"
        id: Mapped[int] = mapped_column(primary_key=True)

    yield Unadorned
    Base.registry.dispose()


UNTIL_ONE_BEHAVES = """
from sqlalchemy import DateTime, Integer, create_engine
from sqlalchemy.orm import DeclarativeBase, mapped_column, sessionmaker
from lifecycle import Lifecycle, soft_delete

class Base(DeclarativeBase):
    pass

class Undecorated(Base):
    __tablename__ = "undecorated"
    id = mapped_column(Integer, primary_key=True)

factory = sessionmaker(create_engine("sqlite://"))
Lifecycle().install(factory)

def heard():
    with factory() as session:
        return len(session.dispatch.do_orm_execute)

before = heard()

@soft_delete
class DecoratedLater(Base):
    __tablename__ = "decorated_later"
    id = mapped_column(Integer, primary_key=True)
    deleted_at = mapped_column(DateTime)

with factory() as session:
    session.query(DecoratedLater)  # which configures it
print(before, heard())
"""


def test_without_behaviours_no_statement_is_looked_at() -> None:
    """Only what every Lifecycle hears is listened to, until a model has one that needs more.

    In a process of its own: here other tests have such models.
    """
    said = subprocess.run(
        [sys.executable, "-c", UNTIL_ONE_BEHAVES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["0", "1"]
