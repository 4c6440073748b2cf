"""The board: entries, ranks, tables and the static site."""
