"""`lifecycle seal` and `lifecycle verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from lifecycle.audit.attesting import attest
from lifecycle.audit.chain import Checkpoint, public_key
from lifecycle.audit.comparing import Comparison
from lifecycle.audit.ledger import ledger_of
from lifecycle.audit.sealing import seal as seal_log
from lifecycle.audit.verifying import Verdict
from lifecycle.audit.verifying import verify as verify_log
from lifecycle.cli.logs import FOUND, a_log, as_lines, counting, text_of, the_store, told
from lifecycle.context import acting
from lifecycle.errors import ConfigurationError

__all__ = ["key_in", "seal", "signing_key", "verify"]


_WHY_NOT: Final = "a statement was recorded whole, or their records were pruned"


def signing_key(command: Any) -> Any:
    """Let a command sign what it does; the key is never an argument, where others could see it."""
    return click.option(
        "--key-file",
        type=click.File(),
        envvar="LIFECYCLE_SIGNING_KEY_FILE",
        help="A file with the Ed25519 private key to sign with, as PEM or 64 hexadecimal digits.",
    )(command)


def key_in(file: Any) -> str | None:
    """The key in a file, if one was given."""
    return None if file is None else text_of(file.name, file.read).strip()


def _public_keys(context: click.Context, parameter: click.Parameter, keys: Any) -> tuple[str, ...]:
    """Keys to trust, refused before anything is verified when they are none."""
    try:
        return tuple(map(public_key, keys))
    except ConfigurationError as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.command(
    short_help="Seal what was recorded since the last time.",
    epilog="""\b
Examples:
  lifecycle seal sqlite:///app.db
  lifecycle seal sqlite:///app.db >> /elsewhere/checkpoints
  openssl genpkey -algorithm ed25519 -out key.pem
  lifecycle seal sqlite:///app.db --key-file key.pem

Run it every few minutes. It locks nothing for long, may be interrupted, and may be repeated.""",
)
@click.option("--by", help="Who does it, for the chain.")
@signing_key
@a_log
def seal(store: Any, app: Any, json: bool, key_file: Any, by: str | None) -> None:
    """Seal what was recorded since the last time, so that any change to it will be found.

    Prints a checkpoint: one line to be kept where nobody who can write to the log can. With it
    `lifecycle verify --checkpoint` finds also what was cut off or written anew as a whole.
    """
    with told():
        log = the_store(store, app)
        with counting("sealed") as progress, acting(by):
            done = seal_log(log, key=key_in(key_file), progress=progress)
    checkpoint = "" if done.checkpoint is None else done.checkpoint.text()
    click.echo(
        f"{done.records} records of {done.revisions} revisions were sealed in {done.seals} seals.",
        err=True,
    )
    as_lines(done, json, *filter(None, (checkpoint,)))


@click.command(
    short_help="Find whatever was altered since it was sealed.",
    epilog="""\b
Examples:
  lifecycle verify sqlite:///app.db
  lifecycle verify sqlite:///app.db --checkpoint /elsewhere/checkpoints
  lifecycle verify sqlite:///app.db --trust 1f2e…
  lifecycle verify sqlite:///app.db --record --by nightly
  lifecycle verify --app shop.main:lifecycle --against-database

Exits with 0 when nothing was found, 3 when something was, 1 when it could not be verified.""",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A file with lines that `lifecycle seal` printed.",
)
@click.option(
    "--trust",
    multiple=True,
    callback=_public_keys,
    help="A public key, 64 hexadecimal digits, one of which must have signed.",
)
@click.option(
    "--against-database",
    is_flag=True,
    help="Compare the log with the tables and documents it tells of; needs --app.",
)
@click.option(
    "--record",
    is_flag=True,
    help="Record the verdict in the log; with --against-database what was written past it.",
)
@click.option("--by", help="Who does it, for the record.")
@a_log
def verify(
    store: Any,
    app: Any,
    json: bool,
    checkpoints: tuple[Path, ...],
    trust: tuple[str, ...],
    against_database: bool,
    record: bool,
    by: str | None,
) -> None:
    """Find every record that was altered, added, removed or put elsewhere since it was sealed.

    With --against-database it asks the other question: was anything written past the log?
    """
    if against_database and app is None:
        raise click.UsageError("--against-database needs the application's models: give --app")
    found: Verdict | Comparison
    with told():
        log = the_store(store, app)
        if against_database:
            with counting("compared") as progress, acting(by):
                compared: Comparison = app.evidence.compare(record=record, progress=progress)
            found, is_right = compared, compared.agrees
        else:
            kept = [Checkpoint.read(line) for file in checkpoints for line in _lines(file)]
            total = ledger_of(log).leaf_count()
            with counting("verified", total) as progress:
                verdict = verify_log(log, checkpoints=kept, trusted=trust, progress=progress)
            if record:
                with acting(by, source="lifecycle command"):
                    attest(log, verdict)
            found, is_right = verdict, verdict.intact
    as_lines(found, json, *_words(found))
    if not is_right:
        raise click.exceptions.Exit(FOUND)


def _lines(file: Path) -> list[str]:
    return [line for line in text_of(file, file.read_text).splitlines() if line.strip()]


def _words(found: Verdict | Comparison) -> list[str]:
    """What was found, for people."""
    if isinstance(found, Comparison):
        lines = [str(one) for one in found.differences]
        lines += [f"not in this database: {place}" for place in found.elsewhere]
        if found.unknown:
            lines.append(f"{found.unknown} rows cannot be compared: {_WHY_NOT}")
        told_of = f"{found.rows} rows of {found.objects} objects were compared with the log"
        recorded = f"; {found.recorded} were recorded" if found.recorded else ""
        return [*lines, f"{told_of}: {_number(found.found)}{recorded}."]
    lines = [str(one) for one in found.findings]
    gone = f", {found.pruned} pruned and {found.erased} erased by {found.acts} acts"
    return [
        *lines,
        f"{found.records} records of {found.revisions} revisions in {found.seals} seals"
        f"{gone if found.acts else ''}: {_number(found.found)}.",
        *([] if found.checkpoint is None else [msgspec.json.encode(found.checkpoint).decode()]),
    ]


def _number(found: int) -> str:
    return "nothing found" if not found else f"{found} found"
