"""Methods of the field that read the states of the model's own answer, stored or by one more
pass."""
