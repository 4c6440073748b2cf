"""Probes at tokens inside an answer: which are read, their vectors, a probe for every layer."""
