"""The files that people read."""
