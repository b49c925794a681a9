"""Where faces come from when they are not in memory: the drawn ones."""
