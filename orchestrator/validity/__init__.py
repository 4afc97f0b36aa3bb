"""What proves a number."""
