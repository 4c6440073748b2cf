"""Reports: finished runs as one page, as Markdown and as LaTeX tables. Nothing here computes a score or imports torch."""
