"""Replays the history of any git repository through both mappers, and checks itself with git."""
