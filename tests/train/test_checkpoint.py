"""What is saved comes back, and what was damaged is noticed."""

import shutil
import subprocess

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


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_what_was_saved(small_disk):
    mesh = parallel.make_mesh(4, 8, jax.devices()[:1])
    saved = tree(mesh)
    with Checkpoints(small_disk / "c") as checkpoints:
        checkpoints.save(1, saved)
        checkpoints.wait()
        (small_disk / "filler").write_bytes(bytes(90_000))
        with pytest.raises(InputError, match=r"no space left.*run the same command") as error:
            for epoch in (2, 3, 4, 5):
                checkpoints.save(epoch, saved)
                checkpoints.wait()
        assert "\n" not in str(error.value)
    (small_disk / "filler").unlink()
    with Checkpoints(small_disk / "c", read_only=True) as checkpoints:
        latest = checkpoints.latest()
        jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(latest, saved), saved)


def test_a_file_in_the_folders_place_is_one_line(tmp_path):
    (tmp_path / "c").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        Checkpoints(tmp_path / "c")
