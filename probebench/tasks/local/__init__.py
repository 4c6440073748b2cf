"""Local files that people bring: read, placed and mended."""
