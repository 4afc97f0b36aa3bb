"""Which job starts when, on what, and again."""
