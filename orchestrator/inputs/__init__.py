"""Where weights, data and sources are on this machine."""
