"""Maps: which numbers each shows, and how it is drawn. Nothing here computes a score or imports
torch."""
