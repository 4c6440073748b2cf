"""Stages that look at the components of every layer."""
