"""The command line: ``python -m examples.shop seed|check|demo``."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import uvicorn
from mongoengine.errors import MongoEngineException
from pymongo.errors import PyMongoError
from sqlalchemy.exc import SQLAlchemyError

from examples.git_history.errors import ExampleError
from examples.git_history.mongodb import embedded_mongodb
from examples.git_history.pages import HOST, open_port
from examples.shop.seed import seed
from examples.shop.web import HISTORY, create_app
from examples.shop.workspace import Shop, open_shop
from lifecycle.errors import LifecycleError

INTERRUPTED = 130
TERMINATED = 143


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
        print(f"error: a database failed: {cause}; see that it runs", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nEnded.", file=sys.stderr)
        return INTERRUPTED
    return status


def _terminate(signum: int, frame: object) -> NoReturn:
    """End as after an error, so that all that was started is ended too."""
    sys.exit(TERMINATED)


def run_seed(options: argparse.Namespace) -> int:
    with _shop(options) as (shop, _):
        _seed(shop)
        return _check(shop)


def run_check(options: argparse.Namespace) -> int:
    with _shop(options) as (shop, _):
        return _check(shop)


def run_demo(options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        listener = stack.enter_context(open_port(options.port))
        shop, mongodb = stack.enter_context(_shop(options))
        _seed(shop)
        status = _check(shop)
        if status == 0:
            try:
                _serve(shop, listener, mongodb, options)
            except KeyboardInterrupt:
                print("\nEnded.")
        return status


@contextmanager
def _shop(options: argparse.Namespace) -> Iterator[tuple[Shop, str]]:
    """The shop in the databases the options name, and where its documents are."""
    data: Path = options.data
    data.mkdir(parents=True, exist_ok=True)
    database = options.database or _default(data)
    mongodb = options.mongodb or os.environ.get("MONGODB_URI")
    with ExitStack() as stack:
        if not mongodb:
            mongodb = stack.enter_context(embedded_mongodb(data / "mongodb"))
        yield stack.enter_context(open_shop(database, mongodb)), mongodb


def _default(data: Path) -> str:
    return f"sqlite:///{data / 'shop.sqlite'}"


def _seed(shop: Shop) -> None:
    records = seed(shop)
    print(f"Filled the shop: {records:,} records." if records else "The shop is open already.")


def _check(shop: Shop) -> int:
    """Compare the log with the rows and the documents."""
    compared = shop.lifecycle.evidence.compare()
    print(
        f"Compared {compared.objects:,} rows and documents with the log: "
        f"{compared.found:,} differences.",
        flush=True,
    )
    for difference in compared.differences[:10]:
        print(f"  {difference}", file=sys.stderr)
    return 0 if compared.agrees else 1


def _serve(shop: Shop, listener: socket.socket, mongodb: str, options: argparse.Namespace) -> None:
    root = f"http://{HOST}:{listener.getsockname()[1]}"
    print(f"  the shop     {root}/\n  its history  {root}{HISTORY}/")
    print("The commands see it too, as long as this runs:")
    database = options.database or _default(options.data)
    print(f"  export SHOP_DATABASE={database} MONGODB_URI={mongodb}")
    print("  lifecycle describe --app examples.shop.application:lifecycle")
    print("  lifecycle migrations --app examples.shop.application:lifecycle --run --dry-run")
    print("Ctrl-C ends it.", flush=True)
    config = uvicorn.Config(create_app(shop), log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.shop",
        description="A small shop in two databases, with one history of both.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "seed", run_seed, "fill the shop if it is empty, and check the log")
    _command(commands, "check", run_check, "compare the log with the rows and the documents")
    demo = _command(commands, "demo", run_demo, "fill the shop if it is empty, and open it")
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
    add("--data", type=Path, default=Path(".demo/shop"), metavar="DIR", help="default: .demo/shop")
    add("--database", metavar="URL", help="default: a SQLite file in DIR")
    add("--mongodb", metavar="URI", help="default: MONGODB_URI, else nx-27017 with its data in DIR")
    return command


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port: give 1 to 65535, or 0 for a free one")
    return number


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main())
