"""Several runs side by side: their table, its page, and ensembles of them. No JAX, no device."""
