"""Implementations of `lifecycle.audit.store.AuditStore`; each module imports only its own driver."""
