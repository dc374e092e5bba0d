"""The history on the host's own pages: addresses, and a few lines of it to put in."""

from __future__ import annotations

from typing import Any, Protocol

from markupsafe import Markup

from audit_ui.languages import checked_language, speaking
from audit_ui.links import Links
from audit_ui.site import Site
from lifecycle.audit.records import Record
from lifecycle.audit.store import AuditStore, Query

__all__ = ["Embedded", "HasModels", "KnowsObjects"]


class KnowsObjects(Protocol):
    """What knows the names and keys of a host's objects, as `Lifecycle.models` does."""

    def subject(self, instance: Any) -> tuple[str, str]:
        """An object's entity and key."""
        ...

    def entity(self, model: type | str) -> str:
        """The registered name of a model."""
        ...

    def key(self, model: type | str, identity: Any) -> str:
        """The text of an identity of a model."""
        ...


class HasModels(Protocol):
    """What owns a store and knows its models, as a Lifecycle does."""

    @property
    def store(self) -> AuditStore:
        """Where the revisions live."""
        ...

    @property
    def models(self) -> KnowsObjects:
        """What its objects are called."""
        ...


class Embedded:
    """Addresses of history pages, and pieces of them, for the host's own pages.

    ``at`` is the address the pages are mounted at, as the browser sees it: ``/audit``, or with
    scheme and host. No request is needed, so the methods can be globals of a template engine::

        history = Embedded(lifecycle, at="/audit")
        templates.env.globals["history_fragment"] = history.history_fragment

    ``locale`` is the language of the pieces, by default English. Raises ``ConfigurationError`` for
    one that is not there.

    Objects are given by themselves, or as ``(Model, identity)``. Whether someone may see a fragment
    is the host's to ask; what an address leads to, the pages ask.
    """

    def __init__(self, lifecycle: HasModels, *, at: str, locale: str = "en") -> None:
        checked_language(locale)
        self._locale = locale
        self._lifecycle = lifecycle
        self._models = lifecycle.models
        self._links = Links(f"{at.rstrip('/')}/", {})

    def url_for_history(self, target: Any, identity: Any = None) -> str:
        """The address of an object's page. Raises ``HistoryError`` for one without identity."""
        return self._links.object(*self._subject(target, identity))

    def url_for_record(self, record: Record | str) -> str:
        """The permanent address of a record, or of the id of one."""
        return self._links.record(record if isinstance(record, str) else record.id)

    def url_for_actor(self, actor: str) -> str:
        """The address of an actor's page."""
        return self._links.actor(actor)

    def history_fragment(self, target: Any, identity: Any = None, *, limit: int = 5) -> Markup:
        """The last changes of an object as HTML: a list without style of its own, all escaped.

        One question to the store. Raises ``HistoryError`` for an object without identity and
        ``StoreError`` when the store cannot answer.
        """
        entity, key = self._subject(target, identity)
        store = self._lifecycle.store
        page = store.page(Query(entity=entity, key=key), limit=limit)
        site = Site(store, store, "")
        with speaking(self._locale):
            html = site.templates.get_template("fragment.html").render(
                links=self._links,
                entity=entity,
                key=key,
                records=page.records,
                more=page.next,
                names={},
            )
        return Markup(html)

    def _subject(self, target: Any, identity: Any) -> tuple[str, str]:
        if identity is None:
            return self._models.subject(target)
        return self._models.entity(target), self._models.key(target, identity)
