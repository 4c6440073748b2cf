"""Greedy decoding: rows that come and go, what ends them, and what they may say."""
