"""The command line: ``python -m examples.shop seed|check|demo``."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from examples.common import command
from examples.common.databases import Databases
from examples.common.serving import open_port, root_of, serve
from examples.shop.seed import seed
from examples.shop.web import HISTORY, create_app
from examples.shop.workspace import open_shop

_DATA = ".demo/shop"


class Opened(NamedTuple):
    """The shop, and where its rows and documents are."""

    shop: Databases
    database: str
    mongodb: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    return command.run(_parser(), arguments)


def run_seed(options: argparse.Namespace) -> int:
    with _shop(options) as opened:
        _seed(opened.shop)
        return _check(opened.shop)


def run_check(options: argparse.Namespace) -> int:
    with _shop(options) as opened:
        return _check(opened.shop)


def run_demo(options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        listener = stack.enter_context(open_port(options.port))
        opened = stack.enter_context(_shop(options))
        _seed(opened.shop)
        status = _check(opened.shop)
        if status == 0:
            _serve(opened, listener)
        return status


@contextmanager
def _shop(options: argparse.Namespace) -> Iterator[Opened]:
    with (
        command.databases(options, "shop.sqlite") as (database, mongodb),
        open_shop(database, mongodb) as shop,
    ):
        yield Opened(shop, database, mongodb)


def _seed(shop: Databases) -> None:
    records = seed(shop)
    print(f"Filled the shop: {records:,} records." if records else "The shop is open already.")


def _check(shop: Databases) -> int:
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


def _serve(opened: Opened, listener: socket.socket) -> None:
    root = root_of(listener)
    print(f"  the shop     {root}/\n  its history  {root}{HISTORY}/")
    print("The commands see it too, as long as this runs:")
    print(f"  export SHOP_DATABASE={opened.database} MONGODB_URI={opened.mongodb}")
    print("  lifecycle describe --app examples.shop.application:lifecycle")
    print("  lifecycle migrations --app examples.shop.application:lifecycle --run --dry-run")
    serve(create_app(opened.shop), listener)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.shop",
        description="A small shop in two databases, with one history of both.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = command.command
    add(commands, "seed", run_seed, "fill the shop if it is empty, and check the log", _DATA)
    add(commands, "check", run_check, "compare the log with the rows and the documents", _DATA)
    demo = add(commands, "demo", run_demo, "fill the shop if it is empty, and open it", _DATA)
    command.add_port(demo)
    return parser


if __name__ == "__main__":
    command.end_when_told_to()
    sys.exit(main())
