"""`python -m benchmarks` lists the benchmarks; `python -m benchmarks NAME` runs one."""

import argparse
import importlib
import os
import pathlib
import sys

from asc_jax.config.choices import PRECISIONS

# By name: the question that it answers. The module has the same name.
BENCHMARKS = {
    "step": "How long does a training step of four folds take, against compiled PyTorch and flax?",
    "conv": "How long do a 3x3 convolution of four folds and its gradients take?",
    "cold_start": "How long is it from process start to the end of the first training step?",
    "scaling": "How does a step's time follow folds, depth, batch, mel bands and frames?",
    "meshes": "How does a step's time follow the mesh that the same work is spread over?",
    "frontend": "How many clips a second are decoded and turned into log-mels?",
    "gan": "How long is a full iteration of WaveGAN, of one and of several at once?",
    "intervals": "How often do the intervals cover the truth, and the tests alarm falsely?",
    "faults": "What is lost, and what comes out wrong, when processes are killed and disks fail?",
    "fuzz": "What becomes of random and damaged input: is any of it taken for something else?",
    "placement": "What does it cost to keep the clips on the device, over devices, on the host?",
    "compiled": "What would a GPU and a TPU run? (compiled without one: no times)",
    "folds": "Which way to map folds is the fastest on this device?",
    "gpu": "The first hour with a GPU: is it right, and how fast is it?",
    "augment": "How long does a step take with each augmentation, against none?",
    "epoch": "How long is an epoch over a pool of 8,640 clips? (for a GPU)",
}


def main() -> None:
    """Runs the command line."""
    # JAX would take most of a GPU's memory at once and leave PyTorch too little.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", metavar="NAME")
    for name, question in BENCHMARKS.items():
        one = names.add_parser(name, help=question, description=question)
        one.add_argument("--out", type=pathlib.Path, help="JSON file to write")
        one.add_argument("--quick", action="store_true", help="tiny shapes, one round: a test")
        add_options(name, one)
    args = parser.parse_args()
    if args.name is None:
        for name, question in BENCHMARKS.items():
            print(f"{name}: {question}")
        return
    if args.name == "gpu" and (named := os.environ.get("JAX_PLATFORMS")):  # the CPU to compare with
        os.environ["JAX_PLATFORMS"] = ",".join(dict.fromkeys([*named.split(","), "cpu"]))
    if args.name == "compiled":  # before JAX is imported: for no device that is here
        os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1")
    from benchmarks import record

    result = importlib.import_module(f"benchmarks.{args.name}").run(args)
    print(result.pop("table", "") or record.table(result["rows"]))
    print(record.write(args.name, result, args.out))
    for fault in ("wrong", "failed"):
        if named := result.get(fault):
            print(f"{fault}: {', '.join(named)}", file=sys.stderr)
    sys.exit(bool(result.get("wrong") or result.get("failed")))


def add_options(name: str, parser: argparse.ArgumentParser) -> None:
    """The options of one benchmark; here, so that listing and --help import nothing."""
    if name == "conv":
        parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    if name in ("step", "gan", "epoch", "folds"):
        parser.add_argument("--dtype", choices=PRECISIONS[1:], default="float32")
    if name == "augment":
        parser.add_argument(
            "--only", action="append", help="one setting beside none; may be repeated"
        )
    if name == "gpu":
        parser.add_argument("--minutes", type=float, default=10, help="after which no part begins")
    if name in ("step", "cold_start", "epoch", "placement", "folds"):
        parser.add_argument("--batch", type=int, default=16, help="clips per step and fold")
    if name == "compiled":
        parser.add_argument("--target", action="append", help="one of them; may be repeated")
        parser.add_argument("--network", action="append", help="one of them; may be repeated")
    if name == "faults":
        parser.add_argument("--seed", type=int, default=0, help="of the faults and their moments")
    if name == "fuzz":
        parser.add_argument("--seed", type=int, default=0, help="of the inputs")
        parser.add_argument("--examples", type=int, default=6000, help="inputs of all subjects")
        parser.add_argument("--subject", action="append", help="one of them; may be repeated")
    if name in ("epoch", "placement"):
        usual = {"epoch": "8,640", "placement": "512"}[name]
        parser.add_argument("--clips", type=int, default=0, help=f"in the pool; 0 for {usual}")


if __name__ == "__main__":
    main()
