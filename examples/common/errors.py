"""What can go wrong with any example, each with the exit status it ends with."""

from __future__ import annotations


class ExampleError(Exception):
    """Something prevents the run; the message names it and says what to do."""

    status = 1


class DatabaseError(ExampleError):
    """One of the databases cannot be reached or opened."""
