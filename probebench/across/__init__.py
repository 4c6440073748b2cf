"""Finished runs side by side: compared, transferred, united, drawn."""
