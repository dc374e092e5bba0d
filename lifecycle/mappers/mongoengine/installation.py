"""Installing into mongoengine, or into some of its document classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Final

from mongoengine import Document

from lifecycle.bundles import filled, fitted
from lifecycle.changes import ChangeSet, Operation
from lifecycle.errors import HistoryError, InstallError
from lifecycle.linting import Lint
from lifecycle.mappers.base import Live, Services
from lifecycle.mappers.mongoengine import patches, targets
from lifecycle.mappers.mongoengine.aftermath import Aftermath
from lifecycle.mappers.mongoengine.bulk import Part, part_of
from lifecycle.mappers.mongoengine.change_streams import listening, without_images
from lifecycle.mappers.mongoengine.documents import (
    DocumentModel,
    DocumentModels,
    all_subclasses,
    document_classes,
    is_concrete,
)
from lifecycle.mappers.mongoengine.hooking import Hooking
from lifecycle.mappers.mongoengine.images import Image, known
from lifecycle.mappers.mongoengine.joining import JoiningRecorder
from lifecycle.mappers.mongoengine.linting import lint_documents
from lifecycle.mappers.mongoengine.listening import migrating
from lifecycle.mappers.mongoengine.live import live_documents
from lifecycle.mappers.mongoengine.load_hooks import LoadHooks
from lifecycle.mappers.mongoengine.relating import choices, pointers, relation
from lifecycle.mappers.mongoengine.restoring import DocumentSite
from lifecycle.mappers.mongoengine.stock import DocumentStock
from lifecycle.mappers.mongoengine.stored import StoredDocument
from lifecycle.mappers.mongoengine.watchers import Watchers
from lifecycle.mappers.mongoengine.writing import Writing
from lifecycle.policy import Policy
from lifecycle.relations import Pointer, Relation
from lifecycle.restoring import Site
from lifecycle.written import Heard

__all__ = ["MongoengineMapper"]


class MongoengineMapper:
    """Sees what installed document classes save and delete, runs hooks and records it."""

    def __init__(self, services: Services) -> None:
        services = replace(services, recorder=JoiningRecorder(services.recorder))
        self._services: Final = services
        self._models: Final = DocumentModels(services)
        self._aftermath: Final = Aftermath(services)
        self._installed: tuple[Any, ...] = ()
        services.dispatcher.when_changed(patches.refresh)

    # --- the Mapper protocol ---

    records_beside: Final = False

    def engine_of(self, target: Any) -> None:
        """Documents are in no SQL database."""

    def accepts(self, target: object) -> bool:
        """Whether the target is the ``mongoengine`` module, a ``Document`` class, or an alias."""
        return targets.accepts(target)

    def install(self, target: Any) -> None:
        """See the documents of every class, of one and its subclasses, or of a connection alias.

        Raises ``InstallError`` when some of them are seen already, or the alias is not known, and
        ``ConfigurationError`` when a document class declares what cannot work.
        """
        targets.check_known(target)
        for other in self._installed:
            if targets.overlap(target, other):
                raise InstallError(
                    f"{target!r} is installed already, or shares documents with {other!r}, which "
                    "is: every write would be recorded twice. Install each document class once, "
                    "or uninstall the other first"
                )
        self._models.check_declared(targets.covered(target))
        before, self._installed = self._installed, (*self._installed, target)
        if before:
            patches.refresh()
        else:
            self._start()

    def _start(self) -> None:
        try:
            patches.watch(self)
        except InstallError:
            self._installed = ()
            raise

    def uninstall(self, target: Any) -> None:
        """Stop; with the last one gone mongoengine is as it was.

        Raises ``InstallError`` when the target is not installed.
        """
        if target not in self._installed:
            raise InstallError(f"{target!r} is not installed, so it cannot be uninstalled")
        self._installed = tuple(other for other in self._installed if other != target)
        if self._installed:
            patches.refresh()
        else:
            patches.unwatch(self)

    def check(self, cls: type) -> None:
        """Check what is declared for a class, and for those that inherit from it."""
        self._models.check(cls)

    def subscribed(self) -> None:
        """There are new hooks, which may want to be told of classes."""
        for target in self._installed:
            self._models.check_declared(targets.covered(target))

    def maps(self, cls: type) -> bool:
        """Whether the class, or one that inherits from it, has documents."""
        return any(map(is_concrete, all_subclasses(cls)))

    def classes(self) -> Iterator[type]:
        """Every document class that is seen."""
        return filter(self.watches, document_classes())

    def policy(self, cls: type) -> Policy:
        """How a class is recorded, with all that is masked of it."""
        return self._models.get(cls).policy

    def stock(self, cls: type) -> DocumentStock:
        """All documents of a class."""
        return DocumentStock(self._models.get(cls))

    def policies(self) -> Iterator[tuple[str, Policy]]:
        """Every document class that is seen, with its policy, by the name of its entity."""
        for cls in self.classes():
            model = self._models.get(cls)
            yield model.entity, model.policy

    def entity(self, cls: type) -> str:
        """The registered name of a document class: that of the class that has the collection."""
        return self._models.get(cls).entity

    def entities(self) -> Iterator[str]:
        """The registered names of every document class there is."""
        return (DocumentModel(cls).entity for cls in document_classes())

    def fields(self, entity: str) -> Iterator[str]:
        """The declared fields of the document classes of a name."""
        for cls in document_classes():
            if DocumentModel(cls).entity == entity:
                yield from cls._fields

    def lint(self, engine: Any) -> Iterator[Lint]:
        """Remarks on every document class there is that is to be recorded."""
        wants = self._services.recorder.wants
        models = [
            model for model in map(self._models.get, document_classes()) if wants(model.policy)
        ]
        return lint_documents(models, self.watches)

    def live(self, engine: Any) -> Iterator[Live]:
        """The collection of every recorded document class that is seen."""
        models = map(self._models.get, self.classes())
        wants = self._services.recorder.wants
        return live_documents([model for model in models if wants(model.policy)])

    def relation(self, entity: str, name: str) -> Relation | None:
        """A reference, or list of them, of a document class; ``None`` when none has the name."""
        for cls in document_classes():
            if DocumentModel(cls).entity == entity:
                return relation(self._models, cls, entity, name)
        return None

    def pointers(self, entity: str | None, source: str | None) -> Iterator[Pointer]:
        """The references of document classes to documents."""
        return pointers(self._models, entity, source)

    def choices(self, entity: str) -> dict[str, dict[Any, str]]:
        """The ``choices=`` of a class's fields."""
        return choices(self._models, entity)

    def listening(
        self, alias: str, token: str | None, until_idle: bool
    ) -> AbstractContextManager[Iterator[Heard]]:
        """What anybody writes to the documents of a connection that are seen; see there."""
        models, wants = self._of_connection(alias), self._services.recorder.wants
        return listening(alias, models, wants, token, until_idle)

    def without_images(self, alias: str) -> list[str]:
        """The collections of a connection whose old values cannot be heard of."""
        return without_images(alias, self._of_connection(alias), self._services.recorder.wants)

    def _of_connection(self, alias: str) -> list[DocumentModel]:
        targets.check_known(alias)
        return [self._models.get(cls) for cls in targets.covered(alias) if self.watches(cls)]

    @contextmanager
    def site(self, session: Any) -> Iterator[Site]:
        """The documents; each is written, and kept, by itself."""
        yield DocumentSite(self._models)

    def sees(self, instance: Any) -> bool:
        """Whether the document is of a class that is seen."""
        return isinstance(instance, Document) and self.watches(type(instance))

    def reaching(self, cls: type) -> AbstractContextManager[None]:
        """No session: documents are reached through their class."""
        return nullcontext()

    def key(self, cls: type, identity: Any) -> str:
        """The text of a primary key, given in any form its field takes.

        Raises ``HistoryError`` when the field does not take it.
        """
        return self._models.get(cls).key(identity)

    def key_of(self, instance: Any) -> str:
        """The text of a document's key. Raises ``HistoryError`` for one never saved."""
        model = self._models.get(type(instance))
        key = model.key_of(instance)
        if key is None:
            raise HistoryError(
                f"a {type(instance).__qualname__} that was never saved has no history yet: save it"
            )
        return key

    # --- what the patches ask ---

    def watches(self, cls: type) -> bool:
        """Whether documents of this class are seen."""
        return is_concrete(cls) and any(targets.covers(one, cls) for one in self._installed)

    def writing(self, document: Any, operation: Operation, era: Watchers) -> Writing | None:
        """The part of this Lifecycle in a write; ``None`` when nothing of it wants the class."""
        model = self._models.concerned(type(document))
        if model is None:
            return None

        def image() -> Image | None:
            return known(document, era, document._collection, model.id_of(document))

        def stored() -> StoredDocument:
            listener = partial(migrating, era, type(document))
            collection = document._get_collection()
            return StoredDocument(model, model.id_of(document), collection, listener, image)

        hooking = Hooking(
            model, document, operation, image, self._services, self._aftermath, stored
        )
        return Writing(model, document, operation, hooking, self._services)

    def part(self, cls: type, call: str, cause: str | None, bulk: bool) -> Part | None:
        """The part of this Lifecycle in a write that passes ``save`` and ``delete`` by."""
        classes = [one for one in all_subclasses(cls) if self.watches(one)]
        return part_of(self._models, self._services, classes, call, cause, bulk)

    def filled(self, cls: type, changes: ChangeSet) -> dict[str, Any]:
        """What behaviours of a class want a write set that passes ``save`` by, as it is stored."""
        if self._services.suppression.hooks:
            return {}
        model = self._models.get(cls)
        return fitted(cls, filled(cls, changes), model.fitted)

    def marks(self, cls: type) -> bool:
        """Whether it marks documents of a class that are deleted, where their class says so."""
        return not self._services.suppression.hooks

    def fitted(self, cls: type, field: str, value: Any) -> Any:
        """A value in the form that a field has it in."""
        return self._models.get(cls).fitted(field, value)

    def load_hooks(self, cls: type) -> LoadHooks | None:
        """What to run when documents of this class are loaded; ``None`` for nothing."""
        model = self._models.with_load_hooks(cls)
        return None if model is None else LoadHooks(model, self._services)
