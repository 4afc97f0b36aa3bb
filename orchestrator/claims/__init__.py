"""What no two runs may do at once."""
