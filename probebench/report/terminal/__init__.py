"""What a person reads in a terminal: eighty columns are enough."""
