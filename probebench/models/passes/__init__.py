"""Forward passes: batches, padding, memory, and what is read off them."""
