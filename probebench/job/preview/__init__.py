"""What a run would do and cost, said before any weights are loaded."""
