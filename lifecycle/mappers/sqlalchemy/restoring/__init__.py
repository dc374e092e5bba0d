"""Putting rows back: reading them as the log has them, what is in the way, and the order."""

from lifecycle.mappers.sqlalchemy.restoring.site import SqlSite

__all__ = ["SqlSite"]
