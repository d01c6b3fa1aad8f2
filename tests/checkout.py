"""Where things lie in the checkout that is tested."""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
KEPT = ROOT / "tests" / "kept"  # made by older versions
