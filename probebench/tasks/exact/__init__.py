"""Exact answers: which words of an answer decide it, found without looking at the label."""
