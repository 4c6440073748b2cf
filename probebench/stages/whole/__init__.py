"""Stages that look at every token of an answer."""
