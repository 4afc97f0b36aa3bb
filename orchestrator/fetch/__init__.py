"""What is not here, and getting it."""
