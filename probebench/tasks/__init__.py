"""Tasks: examples, prompts, judges, exact answers, and how they are split."""
