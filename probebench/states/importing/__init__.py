"""Hidden states made elsewhere: read, held against the answers and our own pass, and stored."""
