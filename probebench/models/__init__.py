"""Models: from a name to weights on a device, where their components stand, and what they
answer."""
