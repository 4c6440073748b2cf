"""What is made of a run at tokens inside answers: a page that paints them, a terminal summary."""
