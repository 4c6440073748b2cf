"""Sections of a report about what studies found beside the map and the table."""
