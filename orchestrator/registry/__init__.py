"""The registry: what it may hold (schema), how a file becomes one (load), how names are chosen from it (matrix)."""
