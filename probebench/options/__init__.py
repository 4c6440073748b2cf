"""What an option is, and what follows from its definition: checks, types, signature, docstring, and
a page of the docs."""
