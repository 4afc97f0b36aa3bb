"""One run from start to end, and looking into runs."""
