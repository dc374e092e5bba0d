"""`lifecycle describe`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from lifecycle.cli.logs import an_application, as_lines, told
from lifecycle.describing import Described, Description, Hooks

__all__ = ["describe"]


@click.command(
    short_help="Say what runs for each model, and what is recorded of it.",
    epilog="""\b
Examples:
  lifecycle describe --app shop.main:lifecycle
  lifecycle describe --app shop.main:lifecycle --entity shop.Order
  LIFECYCLE_APP=shop.main:lifecycle lifecycle describe --json""",
)
@an_application
@click.option(
    "--entity", "entities", multiple=True, metavar="NAME", help="Only this model; may be repeated."
)
@click.option("--json", "json", is_flag=True, help="Answer with one JSON object.")
def describe(app: Any, entities: tuple[str, ...], json: bool) -> None:
    """For every mapped class of an application: its hooks, in the order in which they run, with
    their conditions and where they are defined; its behaviours and references; what is masked,
    and how it is recorded.
    """
    if app is None:
        raise click.UsageError("whose models? give --app module:lifecycle")
    with told():
        found: Description = app.describe()
    known = {one.entity for one in found.models}
    for entity in entities:
        if entity not in known:
            raise click.ClickException(
                f"no model is called {entity!r}; there are: {', '.join(sorted(known)) or 'none'}"
            )
    models = [one for one in found.models if not entities or one.entity in entities]
    answer = {"models": [asdict(one) for one in models]}
    if not entities:
        answer["hooks"] = asdict(found)["hooks"]
    as_lines(answer, json, *_lines(models, {} if entities else found.hooks))


def _lines(models: list[Described], hooks: Hooks) -> Iterator[str]:
    for one in models:
        yield f"{one.entity}  ({one.mapper}, {one.model})"
        yield f"  {', '.join(_policy(one))}"
        for behaviour in (*one.behaviours, *one.references):
            yield f"  {behaviour}"
        yield from _of(one.hooks)
        yield ""
    if hooks:
        yield "every flush, and every class"
        yield from _of(hooks)
        yield ""
    yield f"{len(models)} model{'' if len(models) == 1 else 's'}."


def _policy(one: Described) -> Iterator[str]:
    yield "recorded" if one.recorded else "not recorded"
    if one.mask:
        yield f"masks {' and '.join(one.mask)}"
    if one.exclude:
        yield f"leaves out {' and '.join(one.exclude)}"
    if one.label:
        yield f"labelled by {one.label}"
    if one.bulk:
        yield f"bulk writes {one.bulk}"
    if not one.stable:
        yield "named after its class"


def _of(hooks: Hooks) -> Iterator[str]:
    for moment, found in hooks.items():
        for n, hook in enumerate(found, start=1):
            yield f"  {moment if n == 1 else '':<20} {n}. {hook}"
