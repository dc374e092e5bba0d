"""What the examples share: their databases, their command lines, their port."""
