"""What other places keep of a finished run: its numbers in their forms."""
