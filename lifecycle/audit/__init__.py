"""The audit trail: what is recorded, where it lives, and how to ask it."""
