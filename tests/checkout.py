"""Where things lie in the checkout that is tested, and how its programs are compiled."""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
KEPT = ROOT / "tests" / "kept"  # made by older versions

# Flags of XLA: no LLVM optimisation, and LLVM instead of MLIR makes the kernels, in one piece.
COMPILE_QUICKLY = (
    "--xla_backend_optimization_level=0"
    " --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_parallel_codegen_split_count=1"
)
