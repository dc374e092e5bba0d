"""Steps about many-to-many collections."""

from __future__ import annotations

from typing import Any

from tests.workload.kinds.rows import make
from tests.workload.models import Article, Course, Student, Tag
from tests.workload.running import Here, Skip
from tests.workload.steps import step

ENDS: dict[Any, dict[str, Any]] = {
    Article: {"tags": Tag},
    Tag: {"articles": Article, "broader": Tag},
    Student: {"courses": Course},
}


def _end(here: Here, owner: Any) -> tuple[str, Any]:
    """One of an object's collections, and the class of its members."""
    ends = ENDS[type(owner)]
    name = here.one_of(*ends) if len(ends) > 1 else next(iter(ends))
    return name, ends[name]


def _owner(here: Here) -> Any:
    return here.some(*ENDS)


def _members(here: Here) -> Any:
    """A collection that is not empty."""
    owner = _owner(here)
    name, _ = _end(here, owner)
    members = getattr(owner, name)
    if not members:
        raise Skip
    return members


def _first(members: Any) -> Any:
    return min(members, key=lambda member: (member.id is None, member.id))


def _put(members: Any, member: Any) -> None:
    if isinstance(members, set):
        members.add(member)
    elif member not in members:
        members.append(member)


@step("many-to-many", weight=12)
def tag(here: Here) -> None:
    """Put an object into a collection, from either end."""
    owner = _owner(here)
    name, member_class = _end(here, owner)
    _put(getattr(owner, name), here.some(member_class))


@step("many-to-many", weight=6)
def tag_new(here: Here) -> None:
    """Put a new object into a collection, of an old or a new owner."""
    owner = make(here, *ENDS) if here.flip() else _owner(here)
    name, member_class = _end(here, owner)
    _put(getattr(owner, name), make(here, member_class))
    here.session.add(owner)


@step("many-to-many", weight=8)
def untag(here: Here) -> None:
    """Take an object out of a collection."""
    members = _members(here)
    members.remove(_first(members))


@step("many-to-many", weight=4)
def retag(here: Here) -> None:
    """Replace a collection."""
    owner = _owner(here)
    name, member_class = _end(here, owner)
    members = {here.some(member_class): None for _ in range(here.number(4))}
    setattr(owner, name, type(getattr(owner, name))(members))


@step("many-to-many", weight=3)
def untag_and_tag(here: Here) -> None:
    """Take an object out and put it back before anything is written."""
    members = _members(here)
    member = _first(members)
    members.remove(member)
    _put(members, member)


@step("many-to-many", weight=3)
def tag_unseen(here: Here) -> None:
    """Put an object into a collection that is not loaded, through the other end."""
    article, word = here.some(Article), here.some(Tag)
    if article in here.session.new or word in here.session.new:
        raise Skip
    here.session.flush()
    here.session.expire(article)
    _put(word.articles, article)


@step("many-to-many", weight=3)
def tag_and_change(here: Here) -> None:
    """Change a collection and a column of its owner at once."""
    article = here.some(Article)
    article.title = here.value(Article, "title")
    article.tags = [here.some(Tag)] if here.flip() else []


@step("many-to-many", weight=3)
def untag_and_delete(here: Here) -> None:
    """Take an object out of a collection and delete it."""
    student = here.some(Student)
    if not student.courses:
        raise Skip
    here.session.delete(student.courses.pop())
