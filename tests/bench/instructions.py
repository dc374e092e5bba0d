"""What the log costs, counted in instructions: ``python -m tests.bench.instructions --help``.

Only the process itself is counted, and not its database server, the kernel or the disk; what else
the machine does makes no difference. So one round is enough to compare, also on a busy machine.
Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import platform
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Final

from tests.bench.contestants import CONTESTANTS
from tests.bench.loads import LOADS, Load
from tests.bench.measuring import empty_database
from tests.bench.workers import Ground
from tests.servers import Unavailable

__all__ = ["count", "counter", "main", "read"]

_OPEN: Final = {"x86_64": 298, "aarch64": 241}
"""The number of the system call perf_event_open."""

_HARDWARE, _INSTRUCTIONS, _SIZE = 0, 1, 128
_NOT_OF_KERNEL: Final = 1 << 5 | 1 << 6
"""Neither instructions of the kernel nor of a hypervisor."""

COUNTED: Final = ("plain", "lifecycle")


@contextmanager
def counter() -> Iterator[int]:
    """A file that tells how many instructions this thread has run; see `read`.

    Raises `Unavailable` where the system does not count, or does not let us.
    """
    number = _OPEN.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        raise Unavailable("instructions are counted on Linux only, on x86_64 and aarch64")
    wanted = bytearray(_SIZE)
    struct.pack_into("IIQ", wanted, 0, _HARDWARE, _SIZE, _INSTRUCTIONS)
    struct.pack_into("Q", wanted, 40, _NOT_OF_KERNEL)
    libc = ctypes.CDLL(None, use_errno=True)
    file = libc.syscall(number, (ctypes.c_char * _SIZE).from_buffer(wanted), 0, -1, -1, 0)
    if file < 0:
        raise Unavailable(
            f"the system counts no instructions for us ({os.strerror(ctypes.get_errno())}): "
            "set kernel.perf_event_paranoid to 2 or less, or run outside a container"
        )
    try:
        yield file
    finally:
        os.close(file)


def read(file: int) -> int:
    """How many they are by now."""
    found: int = struct.unpack("Q", os.read(file, 8))[0]
    return found


def count(name: str, dialect: str, load: Load) -> dict[str, int]:
    """The instructions of each step of a load, the second time it runs."""
    contestant = copy(next(one for one in CONTESTANTS if one.name == name))  # it goes afterwards
    with counter() as file, empty_database(dialect) as url:
        ground = Ground(contestant, url)
        try:
            for _ in range(2):
                found: dict[str, int] = {}
                start = 0
                for step in ground.steps(load):
                    if step and start:
                        found[step.name] = read(file) - start
                    gc.collect()
                    start = read(file)
        finally:
            ground.close()
    return found


def main(arguments: list[str] | None = None) -> int:
    """Count a load for plain SQLAlchemy and with the log, and print the ratio."""
    parser = argparse.ArgumentParser("python -m tests.bench.instructions", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--load", choices=[*LOADS], default="flush")
    parser.add_argument("--objects", type=int, metavar="N", help="how many (default: as the load)")
    choice = parser.parse_args(arguments)
    load = LOADS[choice.load]
    load = load.of(choice.objects or load.size)
    try:
        plain, audited = (count(name, choice.database, load) for name in COUNTED)
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        return 2
    print(f"{choice.database}, {load.name}: {load.size:,} objects")
    for what, names in {**{name: (name,) for name in plain}, **load.sums}.items():
        one, other = (sum(found[name] for name in names) for found in (plain, audited))
        print(f"  {what:28} {one / 1e6:>10,.1f} M plain {other / one:>8.3f} x with the log")
    return 0


if __name__ == "__main__":
    sys.exit(main())
