"""A report as HTML, Markdown and LaTeX."""
