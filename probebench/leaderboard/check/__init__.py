"""Checks of a submission: shape, rules, every number computed again."""
