"""The adapter to SQLAlchemy: sees every flush of the sessions it is installed on."""

from __future__ import annotations

from lifecycle.mappers.sqlalchemy.installation import SQLAlchemyMapper

__all__ = ["SQLAlchemyMapper"]
