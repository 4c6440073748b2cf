"""Runs at tokens inside answers: how they are told, their records and tables."""
