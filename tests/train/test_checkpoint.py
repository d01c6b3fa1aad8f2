"""What is saved comes back, and what was damaged is noticed."""

import jax
import numpy as np
import pytest

from asc_jax.errors import InputError
from asc_jax.train import parallel
from asc_jax.train.checkpoint import Checkpoints


def tree(mesh):
    rng = np.random.default_rng(0)
    arrays = {"params": {"kernel": rng.normal(size=(4, 300, 7)).astype(np.float32)},
              "step": np.arange(4, dtype=np.int32)}  # fmt: skip
    return parallel.put(arrays, mesh, parallel.PER_FOLD)


def test_restores_exactly_and_keeps_the_newest(tmp_path):
    mesh = parallel.make_mesh(4, 8)
    saved = tree(mesh)
    with Checkpoints(tmp_path / "checkpoints", keep=2) as checkpoints:
        assert checkpoints.latest() is None
        for epoch in (1, 2, 3):
            checkpoints.save(epoch, saved)
    with Checkpoints(tmp_path / "checkpoints", keep=2) as checkpoints:
        assert checkpoints.latest() == 3
        restored = checkpoints.restore(3, saved)
    jax.tree.map(np.testing.assert_array_equal, restored, saved)
    assert restored["step"].sharding == saved["step"].sharding
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()}
    assert kept == {"2", "3"}


def test_restores_onto_another_mesh(tmp_path):
    saved = tree(parallel.make_mesh(4, 8))
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, saved)
        checkpoints.wait()
        one = tree(parallel.make_mesh(4, 8, jax.devices()[:1]))
        restored = checkpoints.restore(1, one)
    jax.tree.map(np.testing.assert_array_equal, restored, saved)
    assert len(restored["step"].devices()) == 1


def test_altered_bytes_are_noticed(tmp_path):
    saved = tree(parallel.make_mesh(4, 8, jax.devices()[:1]))
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, saved)
    data = [p for p in (tmp_path / "c" / "1" / "state").rglob("*") if p.is_file()]
    largest = max(data, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with Checkpoints(tmp_path / "c") as checkpoints, pytest.raises(InputError) as error:
        checkpoints.restore(1, saved)
    message = str(error.value)
    assert str(tmp_path / "c" / "1") in message and "delete that folder" in message
    assert "\n" not in message


def test_another_structure_is_refused(tmp_path):
    saved = tree(parallel.make_mesh(4, 8))
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, saved)
        checkpoints.wait()
        with pytest.raises(InputError, match="cannot be restored"):
            checkpoints.restore(1, {"params": saved["params"]})


def test_a_file_in_the_folders_place_is_one_line(tmp_path):
    (tmp_path / "c").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        Checkpoints(tmp_path / "c")
