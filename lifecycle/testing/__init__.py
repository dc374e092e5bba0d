"""Suites with which an implementation proves itself, run by pytest."""

import pytest

pytest.register_assert_rewrite("lifecycle.testing.store_contract")

from lifecycle.testing.store_contract import AuditStoreContract  # noqa: E402  (rewritten first)

__all__ = ["AuditStoreContract"]
