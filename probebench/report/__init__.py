"""What is made of finished runs: a page, Markdown, LaTeX, a probe card, BibTeX. Nothing here
computes a score or imports torch."""
