"""Stored hidden states: found, verified, exported, and used again."""
