"""Engines: where the stages of a run are computed."""
