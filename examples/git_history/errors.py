"""What can go wrong with this example, each with the exit status it ends with."""

from __future__ import annotations


class ExampleError(Exception):
    """Something prevents the run; the message names it and says what to do."""

    status = 1


class GitError(ExampleError):
    """git cannot give what was asked for."""

    status = 2


class DatabaseError(ExampleError):
    """One of the databases cannot be reached or opened."""


class MismatchError(ExampleError):
    """The databases hold something else than the beginning of this repository's main line."""

    status = 2
