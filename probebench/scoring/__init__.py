"""Scoring: metrics with intervals, baselines, selection, and what carries over."""
