"""Steps about sessions and transactions."""

from __future__ import annotations

from sqlalchemy import select

from tests.workload.choices import recipe_of
from tests.workload.kinds.rows import MODELS
from tests.workload.models import Book, Doc, Parcel, Person
from tests.workload.running import Here, Skip
from tests.workload.steps import step

# --- the end of a transaction; weighted among each other ---


@step("end", weight=15)
def commit(here: Here) -> None:
    """Commit, whatever savepoints are open."""
    here.session.commit()
    here.ended(committed=True)


@step("end", weight=3)
def rollback(here: Here) -> None:
    """Roll back everything."""
    here.session.rollback()
    here.ended(committed=False)


@step("end", weight=2)
def close(here: Here) -> None:
    """Close the session, with whatever it has done."""
    here.session.close()
    here.ended(committed=False)


@step("end", weight=2)
def reopen(here: Here) -> None:
    """Leave the session for a new one, of other habits."""
    here.reopen(expire_on_commit=here.flip(), autoflush=here.flip())


# --- in a transaction ---


@step("flush", weight=5)
def flush(here: Here) -> None:
    """Flush."""
    here.session.flush()


@step("flush", weight=1)
def flush_one(here: Here) -> None:
    """Flush one object only."""
    here.session.flush([here.some(*MODELS)])


@step("flush", weight=6)
def begin_nested(here: Here) -> None:
    """Begin a savepoint."""
    here.session.begin_nested()


@step("flush", weight=4)
def release(here: Here) -> None:
    """Release the innermost savepoint."""
    savepoint = here.session.get_nested_transaction()
    if savepoint is None:
        raise Skip
    savepoint.commit()


@step("flush", weight=4)
def roll_back_savepoint(here: Here) -> None:
    """Roll the innermost savepoint back."""
    savepoint = here.session.get_nested_transaction()
    if savepoint is None:
        raise Skip
    savepoint.rollback()


@step("flush")
def query(here: Here) -> None:
    """Query, which flushes first if the session does so."""
    here.session.scalars(select(here.a_class(Book, Person, Doc, Parcel))).all()


@step("flush")
def expire(here: Here) -> None:
    """Forget what is known of an object, and what was to be changed in it."""
    here.session.expire(here.stored(*MODELS))


@step("flush")
def expire_some(here: Here) -> None:
    """Forget one attribute."""
    instance = here.stored(*(model for model in MODELS if recipe_of(model).columns))
    here.session.expire(instance, [here.one_of(*recipe_of(type(instance)).columns)])


@step("flush", weight=1)
def expire_all(here: Here) -> None:
    """Forget everything known."""
    here.session.expire_all()


@step("flush")
def refresh(here: Here) -> None:
    """Read an object again."""
    here.session.refresh(here.stored(*MODELS))


@step("flush", weight=1)
def populate_existing(here: Here) -> None:
    """Read objects again by a query, over what was to be changed in them."""
    model = here.a_class(Book, Person, Doc, Parcel)
    here.session.execute(select(model).execution_options(populate_existing=True)).all()


@step("flush", weight=1)
def expunge(here: Here) -> None:
    """Take an object out of the session, with what was to be changed in it."""
    here.session.expunge(here.stored(Book, Doc, Parcel))


@step("flush", weight=1)
def let_go(here: Here) -> None:
    """Hold no object any longer, so that those without changes vanish."""
    here.let_go()
