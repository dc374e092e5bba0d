"""The adapter to mongoengine: sees every save and delete of the documents it is installed on."""

from __future__ import annotations

from lifecycle.mappers.mongoengine.installation import MongoengineMapper

__all__ = ["MongoengineMapper"]
