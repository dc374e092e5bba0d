"""What can go wrong with this example beyond what can with any."""

from __future__ import annotations

from examples.common.errors import ExampleError


class GitError(ExampleError):
    """git cannot give what was asked for."""

    status = 2


class MismatchError(ExampleError):
    """The databases hold something else than the beginning of this repository's main line."""

    status = 2
