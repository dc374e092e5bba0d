"""The adapters to object mappers: they see writes, run hooks around them and report changes."""
