"""The batched solver of the L2 logistic regression, on numpy or torch."""
