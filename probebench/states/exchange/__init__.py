"""Stored hidden states: found, verified, exported, and imported from other tools."""
