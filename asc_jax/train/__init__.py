"""Training: one module per algorithm, and what they share."""
