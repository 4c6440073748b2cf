"""Methods of the field that read every token of an answer."""
