"""Metrics of decisions against labels, each with an honest interval."""
