"""Detectors: whatever scores an answer beside the probe, one row of a registry each."""
