"""A submission: written from a run, read strictly as data."""
