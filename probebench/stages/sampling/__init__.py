"""Further answers to each question, drawn from the model, and what is read of them."""
