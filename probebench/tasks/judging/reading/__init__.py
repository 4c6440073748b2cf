"""Free text read as words that can be compared."""
