"""The sections of a run's record, as types."""
