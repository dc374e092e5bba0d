"""The command line: ``python -m examples.git_history replay|check|demo [REPO]``.

Written with argparse: three commands with a few options need no more, and so the example runs with
what the library's extras bring.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

from mongoengine.errors import MongoEngineException
from pymongo.errors import PyMongoError
from sqlalchemy.exc import SQLAlchemyError

from examples.git_history.check import ALL, Checked, check
from examples.git_history.errors import ExampleError
from examples.git_history.git import Repository
from examples.git_history.mongodb import embedded_mongodb
from examples.git_history.replay import Replayed, replay
from examples.git_history.workspace import Workspace, open_workspace
from lifecycle.errors import LifecycleError

INTERRUPTED = 130  # what a shell expects after Ctrl-C
TERMINATED = 143  # and after SIGTERM
DIFFERENCES_SHOWN = 10
FAILED_WHAT_NOW = "see that it runs, then run this again to go on from here"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ExampleError, LifecycleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status if isinstance(error, ExampleError) else 1
    except (MongoEngineException, PyMongoError, SQLAlchemyError) as error:
        cause = str(getattr(error, "orig", error)).partition("\n")[0]
        print(f"error: a database failed: {cause}; {FAILED_WHAT_NOW}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is lost. Run it again to go on from here.", file=sys.stderr)
        return INTERRUPTED
    return status


def _terminate(signum: int, frame: object) -> NoReturn:
    """End as after an error, so that all that was started is ended too."""
    sys.exit(TERMINATED)


# --- commands -------------------------------------------------------------------------------


def run_replay(options: argparse.Namespace) -> int:
    repository = Repository(options.repository)
    with _workspace(options) as workspace:
        return _replay_and_check(options, repository, workspace)


def run_check(options: argparse.Namespace) -> int:
    repository = Repository(options.repository)
    with _workspace(options) as workspace:
        return _check(options, repository, workspace)


def run_demo(options: argparse.Namespace) -> int:
    from examples.git_history.pages import open_port, serve  # only this needs a web server

    repository = Repository(options.repository)
    with ExitStack() as stack:
        listener = stack.enter_context(open_port(options.port))
        workspace = stack.enter_context(_workspace(options))
        status = _replay_and_check(options, repository, workspace)
        if status == 0:
            try:
                serve(workspace, listener)
            except KeyboardInterrupt:
                print("\nEnded.")
        return status


@contextmanager
def _workspace(options: argparse.Namespace) -> Iterator[Workspace]:
    """The databases the options name; without a MongoDB, one of its own beside SQLite."""
    data: Path = options.data
    data.mkdir(parents=True, exist_ok=True)
    database = options.database or f"sqlite:///{data / 'history.sqlite'}"
    mongodb = options.mongodb or os.environ.get("MONGODB_URI")
    with ExitStack() as stack:
        if not mongodb:
            mongodb = stack.enter_context(embedded_mongodb(data / "mongodb"))
        yield stack.enter_context(open_workspace(database, mongodb))


def _replay_and_check(
    options: argparse.Namespace, repository: Repository, workspace: Workspace
) -> int:
    _report_replay(replay(repository, workspace, options.limit))
    return _check(options, repository, workspace) if options.check else 0


def _check(options: argparse.Namespace, repository: Repository, workspace: Workspace) -> int:
    checked = check(repository, workspace, options.check)
    _report_check(checked)
    return 1 if checked.differences else 0


# --- reports --------------------------------------------------------------------------------


def _report_replay(done: Replayed) -> None:
    if not done.commits:
        print(
            f"{_number(done.before, 'commit')} replayed by earlier runs; nothing new.", flush=True
        )
        return
    if done.before:
        print(f"{_number(done.before, 'commit')} replayed by earlier runs.")
    print(
        f"Replayed {_number(done.commits, 'commit')} with {_number(done.files, 'file change')} "
        f"as {_number(done.records, 'record')} in {done.seconds:.1f} s.",
        flush=True,
    )


def _report_check(checked: Checked) -> None:
    print(
        f"Checked {_number(checked.commits, 'commit')} with {_number(checked.files, 'file')} in "
        f"all, against a log of {_number(checked.records, 'record')}, in {checked.seconds:.1f} s: "
        f"{_number(len(checked.differences), 'difference')}.",
        flush=True,
    )
    for difference in checked.differences[:DIFFERENCES_SHOWN]:
        print(f"  {difference}", file=sys.stderr)
    if len(checked.differences) > DIFFERENCES_SHOWN:
        print(f"  and {len(checked.differences) - DIFFERENCES_SHOWN:,} more", file=sys.stderr)


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# --- options --------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.git_history",
        description="Replay a git repository's history as object changes, and check it with git.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "replay", run_replay, "replay what is not in yet, then check")
    _command(commands, "check", run_check, "only check")
    demo = _command(commands, "demo", run_demo, "replay, check, then serve the history pages")
    demo.add_argument("--port", type=_port, default=8000, help="for the pages (default: 8000)")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: object,
    summary: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
    command.set_defaults(run=run)
    add = command.add_argument
    add("repository", metavar="REPO", nargs="?", default=".", help="a git repository (default: .)")
    add("--data", type=Path, default=Path(".demo"), metavar="DIR", help="default: .demo")
    add("--database", metavar="URL", help="default: a SQLite file in DIR")
    add("--mongodb", metavar="URI", help="default: MONGODB_URI, else nx-27017 with its data in DIR")
    if name != "check":
        add("--limit", type=_positive, metavar="N", help="replay at most N commits")
    add(
        "--check",
        type=_sample,
        default=50,
        metavar="N|all",
        help="check N commits, spread evenly (default: 50), every one, or with 0 none",
    )
    return command


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _sample(text: str) -> int | str:
    return text if text == ALL else 0 if text == "0" else _positive(text)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port: give 1 to 65535, or 0 for a free one")
    return number


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main())
