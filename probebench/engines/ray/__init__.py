"""Stages computed by the workers of a Ray cluster."""
