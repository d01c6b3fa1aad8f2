"""Configs of asc_jax: a file per row of the paper's Table 4, and a few more."""
