"""Detectors: whatever scores an answer, one row of a registry each."""
