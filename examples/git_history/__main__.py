"""The command line: ``python -m examples.git_history replay|check|demo [REPO]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from examples.common import command
from examples.common.databases import Databases
from examples.git_history.check import ALL, Checked, check
from examples.git_history.git import Repository
from examples.git_history.replay import Replayed, replay
from examples.git_history.workspace import open_workspace

DIFFERENCES_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    return command.run(
        _parser(),
        arguments,
        failed="see that it runs, then run this again to go on from here",
        stopped="Stopped; nothing is lost. Run it again to go on from here.",
    )


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
    # Only this needs a web server.
    from examples.common.serving import open_port
    from examples.git_history.pages import serve_history

    repository = Repository(options.repository)
    with ExitStack() as stack:
        listener = stack.enter_context(open_port(options.port))
        workspace = stack.enter_context(_workspace(options))
        status = _replay_and_check(options, repository, workspace)
        if status == 0:
            serve_history(workspace, listener)
        return status


@contextmanager
def _workspace(options: argparse.Namespace) -> Iterator[Databases]:
    with (
        command.databases(options, "history.sqlite") as (database, mongodb),
        open_workspace(database, mongodb) as workspace,
    ):
        yield workspace


def _replay_and_check(
    options: argparse.Namespace, repository: Repository, workspace: Databases
) -> int:
    _report_replay(replay(repository, workspace, options.limit))
    return _check(options, repository, workspace) if options.check else 0


def _check(options: argparse.Namespace, repository: Repository, workspace: Databases) -> int:
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
    command.add_port(demo)
    return parser


def _command(
    commands: command.Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
) -> argparse.ArgumentParser:
    parser = command.command(commands, name, run, summary, data=".demo")
    add = parser.add_argument
    add("repository", metavar="REPO", nargs="?", default=".", help="a git repository (default: .)")
    if name != "check":
        add("--limit", type=_positive, metavar="N", help="replay at most N commits")
    add(
        "--check",
        type=_sample,
        default=50,
        metavar="N|all",
        help="check N commits, spread evenly (default: 50), every one, or with 0 none",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _sample(text: str) -> int | str:
    return text if text == ALL else 0 if text == "0" else _positive(text)


if __name__ == "__main__":
    command.end_when_told_to()
    sys.exit(main())
