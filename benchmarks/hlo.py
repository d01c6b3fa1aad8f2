"""Compiled programs as text: the kernels that they launch, and how often."""

import collections
import dataclasses
import re
from collections.abc import Iterator

# What is no kernel: names for what is there already, and the ends of what has been begun.
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id",
    "replica-id", "opt-barrier", "add-dependency", "domain", "copy-done", "all-reduce-done",
    "all-gather-done", "async-update", "async-done", "slice-done",
}  # fmt: skip

# What moves values and computes none.
_MOVES = _FREE | {
    "copy", "copy-start", "transpose", "reshape", "slice", "slice-start", "concatenate", "pad",
    "dynamic-slice", "dynamic-update-slice", "reverse", "broadcast", "iota", "bitcast-convert",
}  # fmt: skip

_COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "f64": 8, "s64": 8}

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An instruction that is launched.

    Attributes:
      kind: its opcode, or what a custom call calls.
      shape: of its result, as XLA writes it.
      text: the rest of its line.
      times: how often a call of the program launches it.
      moves: whether it only moves values.
      transposes: whether it is that which moves them.
    """

    kind: str
    shape: str
    text: str
    times: int
    moves: bool
    transposes: bool

    @property
    def window(self) -> str:
        """Of a convolution, as "3x3"; "" of anything else."""
        found = re.search(r"window=\{size=([\dx]+)", self.text)
        return found[1] if found and "onv" in self.kind else ""

    @property
    def groups(self) -> int:
        """Of a convolution's channels."""
        found = re.search(r"feature_group_count=(\d+)", self.text)
        return int(found[1]) if found else 1

    @property
    def n_bytes(self) -> int:
        """Of its result."""
        sizes = re.findall(r"(\w+)\[([\d,]*)\]", self.shape)
        return sum(_BYTES.get(kind, 4) * _product(extent) for kind, extent in sizes)

    @property
    def cycles(self) -> int:
        """All times together, as a TPU's compiler estimates them; 0 where it does not."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.text)
        return self.times * int(found[1]) if found else 0

    @property
    def collective(self) -> str:
        """What it does between devices; "" for nothing."""
        return next((one for one in _COLLECTIVES if self.kind.startswith(one)), "")


def kernels(text: str) -> list[Kernel]:
    """The kernels of a compiled program, those in loops with their number of rounds.

    Args:
      text: from `compiled.as_text()`.
    """
    computations, entry = {}, None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            computations[head[2]] = lines = []
            entry = head[2] if head[1] else entry
        elif one := _LINE.match(line):
            lines.append(one.groups())
    return list(_launched(computations, entry, 1))


def _launched(computations: dict, name: str, times: int) -> Iterator[Kernel]:
    for _, shape, opcode, rest in computations[name]:
        if opcode == "while":
            body = re.search(r"body=%?([\w.\-]+)", rest)[1]
            yield from _launched(computations, body, times * _rounds(computations, rest))
        elif opcode == "call":
            called = re.search(r"to_apply=%?([\w.\-]+)", rest)[1]
            yield from _launched(computations, called, times)
        elif opcode == "conditional":  # the largest of its branches
            listed = re.search(r"branch_computations=\{(.*?)\}", rest)
            named = re.findall(r"(?:true|false)_computation=(%?[\w.\-]+)", rest)
            branches = listed[1].split(", ") if listed else named
            each = [list(_launched(computations, one.lstrip("%"), times)) for one in branches]
            yield from max(each, key=lambda found: sum(one.times for one in found))
        elif opcode not in _FREE:
            inner = re.search(r"calls=%?([\w.\-]+)", rest) if opcode == "fusion" else None
            parts = [one[2] for one in computations[inner[1]]] if inner else [opcode]
            target = re.search(r'custom_call_target="([^"]+)"', rest)
            kind = target[1] if target else opcode
            if inner and "convolution" in parts:  # of a TPU
                kind, rest = "convolution", rest + _convolution(computations[inner[1]])
            moves = not target and set(parts) <= _MOVES
            yield Kernel(kind, shape, rest, times, moves, "transpose" in parts)


def _rounds(computations: dict, rest: str) -> int:
    """Of a loop: as XLA knows it, or the number that its condition compares with."""
    if known := re.search(r'known_trip_count":\{"n":"(\d+)"', rest):
        return int(known[1])
    condition = computations[re.search(r"condition=%?([\w.\-]+)", rest)[1]]
    numbers = [re.match(r"(\d+)\)", text) for _, _, op, text in condition if op == "constant"]
    return max((int(number[1]) for number in numbers if number), default=1)


def _convolution(lines: list[tuple]) -> str:
    """The text of the convolution in a fusion."""
    return next(rest for _, _, opcode, rest in lines if opcode == "convolution")


def shares_of_cycles(found: list[Kernel], n: int = 5) -> str:
    """What takes the most of a TPU's estimated cycles, by the names of JAX's operations."""
    cycles = collections.Counter()
    for one in found:
        name = re.search(r'op_name="([^"]*)"', one.text)
        cycles[name[1].rpartition("/")[2] if name else one.kind] += one.cycles
    return ", ".join(f"{name} {n / cycles.total():.0%}" for name, n in cycles.most_common(n))


def _product(extent: str) -> int:
    product = 1
    for one in filter(None, extent.split(",")):
        product *= int(one)
    return product


def count(found: list[Kernel], key) -> collections.Counter:
    """How often kernels are launched, by what `key` says of each; "" and None are left out."""
    counted = collections.Counter()
    for one in found:
        if name := key(one):
            counted[name] += one.times
    return counted
