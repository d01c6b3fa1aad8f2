"""Benchmarks: how fast asc_jax is, and against what; `python -m benchmarks` lists them."""
