"""Checkpoints: the files of a model, whole and identified, before any weight is used."""
