"""Behaviours: what many models want to do, declared on them in one line.

Each is a small bundle of hooks, the same for models of SQLAlchemy and documents of mongoengine. A
behaviour is put on a model, or on a mixin of models, and subclasses inherit it; it runs where a
`Lifecycle` is installed, like all hooks. `behaviours_of` tells what a model has. To write one, mark
functions for their moments and hand them to `declare` together with a `Behaviour`.
"""

from lifecycle.behaviours.blame import blame
from lifecycle.behaviours.slug import slug, slugged
from lifecycle.behaviours.soft_delete import hard, soft_delete, undelete, with_deleted
from lifecycle.behaviours.timestamps import timestamps
from lifecycle.behaviours.validated import validated
from lifecycle.behaviours.versioned import versioned
from lifecycle.bundles import Behaviour, behaviours_of, declare

__all__ = [
    "Behaviour",
    "behaviours_of",
    "blame",
    "declare",
    "hard",
    "slug",
    "slugged",
    "soft_delete",
    "timestamps",
    "undelete",
    "validated",
    "versioned",
    "with_deleted",
]
