"""A probe card: what a selected probe is, how it was measured and where it ends."""
