"""What judges are made of: words, numbers, names, options and refusals in free text."""
