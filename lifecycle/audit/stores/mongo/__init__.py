"""The audit store in MongoDB, beside the documents or in a database of its own.

One collection (`documents`), written with one command a revision and asked with one, or two, a
question (`questions`).
"""

from lifecycle.audit.stores.mongo.store import MongoStore

__all__ = ["MongoStore"]
