"""Texts that came with their labels: turns of transcripts, spans inside answers."""
