"""What the reader asked for, as written in the address, and as a question to the store.

A filter is a `Term`: a name, a value, and whether the value is wanted or not. Several wanted values
of one name mean any of them; of ``text`` they mean all. What the store's indexes can answer becomes
its `Query`; the rest is a sieve for the records it gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, TypeAlias

from audit_ui.errors import Mistake
from audit_ui.languages import gettext as _
from audit_ui.languages import gettext_noop
from audit_ui.places import read_uuid
from audit_ui.values import shown
from lifecycle.audit.records import Record
from lifecycle.audit.store import Query
from lifecycle.changes import Change, Operation

__all__ = ["ABSENCES", "NAMES", "PRESETS", "VERBS", "Filters", "Sieve", "Term", "read_moment"]

PRESETS: Final = {
    "1h": gettext_noop("last hour"),
    "24h": gettext_noop("last 24 hours"),
    "7d": gettext_noop("last 7 days"),
    "30d": gettext_noop("last 30 days"),
}
"""Ready values of ``since``, and how the page words them."""

VERBS: Final = {
    Operation.INSERT: gettext_noop("created"),
    Operation.UPDATE: gettext_noop("updated"),
    Operation.DELETE: gettext_noop("deleted"),
    Operation.BULK: gettext_noop("changed in bulk"),
}
"""How the pages call the operations."""

Sieve: TypeAlias = Callable[[Record], bool]
"""Tells whether a record is wanted."""


# --- what each filter means -----------------------------------------------------------------


def _operation(text: str) -> Operation:
    for operation, verb in VERBS.items():
        if text in (operation.value, verb):
            return operation
    raise Mistake(
        400,
        _("No operation is called %(text)s", text=repr(text)),
        _("Use insert, update or delete, or leave it out."),
    )


def _has_field(text: str) -> Sieve:
    """A field's name, or a path, or ``name=value`` with the value it had before or after."""
    name, _, value = text.partition("=")

    def sieve(record: Record) -> bool:
        return record.changes.touches(text) or (
            bool(value) and value in _values(record.changes.get(name))
        )

    return sieve


def _values(delta: Any) -> tuple[str, ...]:
    return (shown(delta.old).text, shown(delta.new).text) if isinstance(delta, Change) else ()


def _contains(text: str, *values: str | None) -> bool:
    wanted = text.casefold()
    return any(wanted in value.casefold() for value in values if value)


ABSENCES: Final = ("actor", "reason", "source", "request_id")
"""What a change may be without, as ``no:reason`` asks."""


def _lacks(what: str) -> Sieve:
    if what not in ABSENCES:
        raise Mistake(
            400,
            _("Nothing is known of changes without %(what)s", what=repr(what)),
            _("After no: write one of %(absences)s.", absences=", ".join(ABSENCES)),
        )
    return lambda record: getattr(record.revision, what) is None


_SIEVES: Final[dict[str, Callable[[str], Sieve]]] = {
    "entity": lambda value: lambda record: record.entity == value,
    "key": lambda value: lambda record: value in (record.key, record.former_key),
    "actor": lambda value: lambda record: record.revision.actor == value,
    "operation": lambda value: _is_operation(_operation(value)),
    "field": _has_field,
    "text": lambda value: (
        lambda record: _contains(value, record.label, record.revision.reason, record.key)
    ),
    "reason": lambda value: lambda record: _contains(value, record.revision.reason),
    "source": lambda value: lambda record: record.revision.source == value,
    "request_id": lambda value: lambda record: record.revision.request_id == value,
    "revision": lambda value: _is_revision("id", value),
    "group": lambda value: _is_revision("group", value),
    "no": _lacks,
}


def _is_operation(operation: Operation) -> Sieve:
    return lambda record: record.operation is operation


def _is_revision(name: str, text: str) -> Sieve:
    wanted = read_uuid(text)
    return lambda record: getattr(record.revision, name) == wanted


_INDEXED: Final[dict[str, Callable[[str], Any]]] = {
    "entity": str,
    "key": str,
    "actor": str,
    "operation": _operation,
    "request_id": str,
    "revision": read_uuid,
    "group": read_uuid,
}
"""What the store can look for by itself, one value of each."""

_TIMES: Final = ("since", "until")

NAMES: Final = (*_SIEVES, *_TIMES)
"""Every filter, in the order in which pages and addresses name them."""


# --- filters --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Term:
    """One filter: a value that is wanted, or one that is not."""

    name: str
    value: str
    negated: bool = False

    @property
    def param(self) -> str:
        """Its name in an address."""
        return f"-{self.name}" if self.negated else self.name


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of the feed, in the order of their names, none twice."""

    terms: tuple[Term, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, str] | Iterable[tuple[str, str]], **fixed: str) -> Filters:
        """The filters in an address; ``fixed`` ones are given by the page itself."""
        pairs = given.items() if isinstance(given, Mapping) else given
        read = [Term(name.lstrip("-"), value, name.startswith("-")) for name, value in pairs]
        own = [Term(name, value) for name, value in fixed.items()]
        return cls.ordered([*own, *(term for term in read if term.name not in fixed)])

    @classmethod
    def ordered(cls, terms: Iterable[Term]) -> Filters:
        """Filters in their order; of several times of one name, the last; unknown ones left out."""
        once: dict[Any, Term] = {}
        for term in terms:
            name, value = term.name, term.value
            if name in (*_TIMES, "operation"):
                value = value.strip()
            if name in _TIMES and not term.negated:
                once.pop(name, None)
                if value:
                    once[name] = Term(name, value)
            elif name in _SIEVES and value:
                found = Term(name, value, term.negated)
                once.setdefault(found, found)
        return cls(
            tuple(sorted(once.values(), key=lambda term: (NAMES.index(term.name), term.negated)))
        )

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __bool__(self) -> bool:
        return bool(self.terms)

    def one(self, name: str) -> str:
        """The first value that is wanted of a name, else an empty text."""
        return next(iter(self._wanted(name)), "")

    def _wanted(self, name: str) -> list[str]:
        return [term.value for term in self.terms if term.name == name and not term.negated]

    @property
    def only_entity(self) -> str | None:
        """The entity that every record found is of, if there is one."""
        names = self._wanted("entity")
        return names[0] if len(names) == 1 else None

    def beside(self, names: Iterable[str]) -> list[Term]:
        """The filters that a form with one input for each of some names does not hold."""
        held = {(name, self.one(name), False) for name in names}
        return [term for term in self.terms if (term.name, term.value, term.negated) not in held]

    def params(self) -> dict[str, list[str]]:
        """The filters as parameters of a link."""
        params: dict[str, list[str]] = {}
        for term in self.terms:
            params.setdefault(term.param, []).append(term.value)
        return params

    def with_(self, **values: str) -> dict[str, list[str]]:
        """The parameters of a link to these filters with others for those names."""
        kept = [term for term in self.terms if term.name not in values or term.negated]
        return Filters.ordered([*kept, *(Term(*pair) for pair in values.items())]).params()

    def without(self, gone: Term) -> dict[str, list[str]]:
        """The parameters of a link to these filters but one."""
        return Filters(tuple(term for term in self.terms if term != gone)).params()

    # --- as a question ---

    def query(self, now: datetime) -> Query:
        """What the store is asked. Raises `Mistake` for a filter that cannot be understood."""
        asked: dict[str, Any] = {}
        for name, read in _INDEXED.items():
            wanted = self._wanted(name)
            if len(wanted) == 1:
                asked[name] = read(wanted[0])
        if self._wanted("key") and "entity" not in asked:
            raise Mistake(
                400,
                _("A key needs its entity"),
                _(
                    "Keys are unique within one entity only. Choose the entity %(one)s belongs "
                    "to, or leave the key out.",
                    one=repr(self.one("key")),
                ),
            )
        for name in _TIMES:
            if self.one(name):
                asked[name] = read_moment(name, self.one(name), now)
        return Query(**asked)

    def sieve(self) -> Sieve | None:
        """What is left to tell of the records the store gives, ``None`` when nothing is.

        Raises `Mistake` for a filter that cannot be understood.
        """
        tests: list[Sieve] = []
        for name, make in _SIEVES.items():
            wanted = [make(value) for value in self._wanted(name)]
            if name == "text":
                tests += wanted
            elif len(wanted) > 1 or (wanted and name not in _INDEXED):
                tests.append(_any_of(wanted))
            unwanted = [
                make(term.value) for term in self.terms if term.name == name and term.negated
            ]
            if unwanted:
                tests.append(_none_of(unwanted))
        return _all_of(tests) if tests else None


def _any_of(tests: list[Sieve]) -> Sieve:
    return lambda record: any(test(record) for test in tests)


def _none_of(tests: list[Sieve]) -> Sieve:
    return lambda record: not any(test(record) for test in tests)


def _all_of(tests: list[Sieve]) -> Sieve:
    return lambda record: all(test(record) for test in tests)


# --- times ----------------------------------------------------------------------------------

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")


def read_moment(name: str, text: str, now: datetime) -> datetime:
    """A moment before now, or an ISO date with or without time, in UTC unless it says otherwise.

    A date alone means all of that day, so ``until`` a date ends with the day.
    """
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if len(text) == 10:
            day = datetime.combine(date.fromisoformat(text), time.min, UTC)
            return day + timedelta(days=1) if name == "until" else day
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Mistake(
            400,
            _("%(text)s is no time", text=repr(text)),
            _(
                "Write %(name)s as 30m, 24h, 7d or 4w for that long ago, or as a date such "
                "as 2026-03-01 or 2026-03-01T14:30; times are in UTC.",
                name=name,
            ),
        ) from None
