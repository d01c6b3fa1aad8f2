"""Programs compiled for devices that are not here, and the counting of their kernels."""

import json
import os
import subprocess
import sys

from checkout import ROOT
from extras import need

from benchmarks import hlo

PROGRAM = """
HloModule step

fused_moves (p: f32[4,8]) -> f32[8,4] {
  p = f32[4,8]{1,0} parameter(0)
  ROOT t = f32[8,4]{1,0} transpose(p), dimensions={1,0}
}

%fused_adds (a: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0)
  ROOT %s = f32[8,4]{1,0} add(%a, %a)
}

%two (a: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0)
  %n = f32[8,4]{1,0} negate(%a)
  ROOT %s = f32[8,4]{1,0} sine(%n)
}

%inside (c: f32[2]) -> f32[2] {
  %i = f32[2]{0} parameter(0)
  ROOT %r = f32[2]{0} add(%i, %i)
}

body (b: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  b = (s32[], f32[8,4]{1,0}) parameter(0)
  x = f32[8,4]{1,0} get-tuple-element(b), index=1
  f = f32[8,4]{1,0} fusion(x), kind=kLoop, calls=%fused_adds, backend_config={"estimated_cycles":"7"}
  g = f32[8,4]{1,0} custom-call(f), window={size=3x5 pad=1_1x2_2}, feature_group_count=4, custom_call_target="__cudnn$convForward"
  ROOT o = (s32[], f32[8,4]{1,0}) tuple(b, g)
}

condition (d: (s32[], f32[8,4])) -> pred[] {
  d = (s32[], f32[8,4]{1,0}) parameter(0)
  n = s32[] constant(36)
  ROOT less = pred[] compare(d, n), direction=LT
}

ENTRY main (p: f32[4,8]) -> f32[8,4] {
  p = f32[4,8]{1,0} parameter(0)
  m = f32[8,4]{1,0} fusion(p), kind=kLoop, calls=fused_moves
  s = (s32[], f32[8,4]{1,0}) tuple(p, m)
  w = (s32[], f32[8,4]{1,0}) while(s), condition=condition, body=body
  k = (s32[], f32[8,4]{1,0}) while(w), condition=condition, body=body, backend_config={"known_trip_count":{"n":"2"}}
  q = f32[8,4]{1,0} conditional(p, m, m), true_computation=%fused_adds, false_computation=%two
  v = f32[8,4]{1,0} conditional(p, m, m), branch_computations={%fused_adds, %two}
  e = f32[8,4]{1,0} get-tuple-element(k), index=1
  ROOT a = f32[8,4]{1,0} all-reduce(e), to_apply=%inside
}
"""  # noqa: E501


def test_kernels_are_counted_as_often_as_they_are_launched():
    found = hlo.kernels(PROGRAM)
    assert sum(one.times for one in found) == 1 + (36 + 2) * 2 + 2 * 2 + 1
    assert hlo.count(found, lambda one: one.kind) == {
        "fusion": 1 + 38, "__cudnn$convForward": 38, "all-reduce": 1, "negate": 2, "sine": 2,
    }  # fmt: skip
    (moved,) = (one for one in found if one.moves)
    assert moved.n_bytes == 4 * 32 and moved.times == 1
    assert {(one.window, one.groups) for one in found if one.window} == {("3x5", 4)}
    assert sum(one.cycles for one in found) == 38 * 7
    assert hlo.count(found, lambda one: one.collective) == {"all-reduce": 1}


def compiled(tmp_path, *words: str) -> list[dict]:
    """The rows of the benchmark, in a process that has no device."""
    out = tmp_path / "compiled.json"
    command = [sys.executable, "-m", "benchmarks", "compiled", f"--out={out}", *words]
    flags = {"XLA_FLAGS": ""}  # a TPU's compiler ends with one that is for a CPU alone
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=os.environ | flags)
    return json.loads(out.read_text())["rows"]


def test_a_small_network_for_a_tpu(tmp_path):
    need("libtpu", extra="compiled")
    (row,) = compiled(tmp_path, "--quick", "--target=v5e")
    assert row["estimated Mcycles"] > 0
    assert row["grouped"] == row["of them > 1 MB"] == row["all-gathers"] == 0


def test_the_reports_network_for_a_gpu(tmp_path):
    """What cuDNN has kernels for, of the network's own sizes, and nothing else."""
    need("jax_cuda12_plugin", extra="cuda12")
    for row in compiled(tmp_path, "--target=h100", "--network=SE-ResNet(152)-rev"):
        assert row["convolutions"] and row["foreign"] == row["grouped"] == 0, row
        assert row["kernels"] <= 3_000 and row["that move"] <= 150, row
        assert row["all-gathers"] == 0, row
