"""Blocks: the sites of a decoder's block, and where each architecture keeps them."""
