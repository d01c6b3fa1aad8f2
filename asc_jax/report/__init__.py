"""The page and the figures made from a run folder."""
