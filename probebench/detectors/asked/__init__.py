"""Detectors that ask the model about its own answer."""
