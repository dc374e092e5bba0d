"""Implementations of the audit store; each imports only its own driver."""
