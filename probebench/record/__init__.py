"""The run record: its schema, and a finished run read back from its directory."""
