"""What is left out of the workload, and which complaints are expected: empty, one day.

Steps are left out by what they need. To switch some on, take the word out of its set; everything
that a flush does, and that is recorded rightly, is on.
"""

from __future__ import annotations

from typing import Final

from tests.workload.judging import ERROR, Complaint

__all__ = ["OFF", "is_known"]

OFF: Final = frozenset({"loose types", "salted", "shared rows"})
"""What capture does not get exactly; the steps that need it are left out by default.

- loose types: a value of another type than the column gives back is recorded as it was given, not
  as the database keeps it.
- salted: a type that stores the same value in another way each time is asked again for the log,
  which then has another text than the table.
- shared rows: two transactions that are open at once change the same rows. An old value is then
  what the session had read, not what the other has written since; and revisions are in the order
  of their first write, which need not be the order of the commits.
"""


def is_known(complaint: Complaint) -> bool:
    """Whether the complaint is about a known fault that no kind of step can be left out for.

    The one there is is SQLAlchemy's own, and comes without a Lifecycle too: out of a collection
    that it loads it takes what was given another owner before, even if that is no member any more.
    """
    return complaint.signature == (ERROR, "ValueError", "remove")
