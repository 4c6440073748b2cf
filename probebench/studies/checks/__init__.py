"""Checks of a reviewer: the headline on other examples, and columns that are one token."""
