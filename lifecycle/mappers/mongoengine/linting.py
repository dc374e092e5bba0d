"""Remarks on document classes: what the log would miss of them, or tell too much of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lifecycle.linting import Lint, looks_secret
from lifecycle.mappers.mongoengine.documents import DocumentModel, named_within
from lifecycle.policy import has_stable_name

__all__ = ["lint_documents"]


def lint_documents(
    models: Sequence[DocumentModel], watches: Callable[[type], bool]
) -> Iterator[Lint]:
    """Every remark on some document classes, of which those that are watched are recorded."""
    for model in models:
        if not watches(model.cls):
            yield Lint(
                model.entity,
                "",
                "install",
                "its class is not installed, so none of its writes is recorded: "
                f"lifecycle.install({model.cls.__name__}), or mongoengine for all",
            )
            continue
        hidden = model.policy.mask | model.policy.exclude
        for name, field in model.cls._fields.items():
            titles = {title for title, _ in named_within(name, field)}
            if name not in hidden and any(map(looks_secret, titles)):
                yield Lint(
                    model.entity,
                    name,
                    "secret",
                    f"its values go to the log as they are: @audited(mask={{{name!r}}}), or "
                    "mask_names or mask_types of the Lifecycle",
                )
        if model.cls is model.root and not has_stable_name(model.cls):
            yield Lint(
                model.entity,
                "",
                "entity",
                "its name in the log is that of the class, so renaming the class would begin a new "
                'history: name it with @audited(entity="...")',
            )
