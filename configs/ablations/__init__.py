"""Configs that each ask one question, as a few fields changed of another config."""
