"""What is known of cells, on disk."""
