"""The command line of an example: its options, its exit statuses, how it ends.

Written with argparse: a few commands with a few options need no more, and so the examples run with
what the library's extras bring.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

from mongoengine.errors import MongoEngineException
from pymongo.errors import PyMongoError
from sqlalchemy.exc import SQLAlchemyError

from examples.common.errors import ExampleError
from examples.common.mongodb import embedded_mongodb
from lifecycle.errors import LifecycleError

INTERRUPTED = 130  # what a shell expects after Ctrl-C
TERMINATED = 143  # and after SIGTERM

Commands = argparse._SubParsersAction  # what add_subparsers() gives has no public name


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    *,
    failed: str = "see that it runs",
    stopped: str = "Ended.",
) -> int:
    """Run the command that was asked for; returns the exit status.

    ``failed`` says what to do about a database that fails, ``stopped`` what Ctrl-C leaves.
    """
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ExampleError, LifecycleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status if isinstance(error, ExampleError) else 1
    except (MongoEngineException, PyMongoError, SQLAlchemyError) as error:
        cause = str(getattr(error, "orig", error)).partition("\n")[0]
        print(f"error: a database failed: {cause}; {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr)
        return INTERRUPTED
    return status


def end_when_told_to() -> None:
    """Take SIGTERM for an end as after an error, so that all that was started is ended too."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(signum: int, frame: object) -> NoReturn:
    sys.exit(TERMINATED)


def command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    data: str,
) -> argparse.ArgumentParser:
    """One of the example's commands, with the options that say where its databases are."""
    parser = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--data", type=Path, default=Path(data), metavar="DIR", help=f"default: {data}")
    add("--database", metavar="URL", help="default: a SQLite file in DIR")
    add("--mongodb", metavar="URI", help="default: MONGODB_URI, else nx-27017 with its data in DIR")
    return parser


def add_port(parser: argparse.ArgumentParser) -> None:
    """The option of a command that serves pages."""
    parser.add_argument("--port", type=_port, default=8000, help="for the pages (default: 8000)")


@contextmanager
def databases(options: argparse.Namespace, file: str) -> Iterator[tuple[str, str]]:
    """The URL and the URI that the options name: by default of this SQLite file, and of a MongoDB
    that runs as long as the block."""
    data: Path = options.data
    data.mkdir(parents=True, exist_ok=True)
    database = options.database or f"sqlite:///{data / file}"
    given = options.mongodb or os.environ.get("MONGODB_URI")
    with nullcontext(given) if given else embedded_mongodb(data / "mongodb") as mongodb:
        yield database, mongodb


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port: give 1 to 65535, or 0 for a free one")
    return number
