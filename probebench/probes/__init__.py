"""Probes: kinds, solver, one fit per cell, and fitted probes on disk."""
