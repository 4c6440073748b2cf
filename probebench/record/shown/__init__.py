"""What each map of a finished run shows, and the small type below it."""
