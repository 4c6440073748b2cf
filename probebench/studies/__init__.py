"""Studies: what a run says beside its table, from its own data alone."""
