"""What a run directory keeps of its stages, and who may write in it."""
