"""What a submission must keep, by subject."""
