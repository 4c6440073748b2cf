"""What a probe could be reading instead of right and wrong."""
