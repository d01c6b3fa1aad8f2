"""What is saved comes back, and what was damaged is noticed."""

import shutil

import jax
import numpy as np
import pytest
from refusals import refused

from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD
from asc_jax.parallel.mesh import make_mesh
from asc_jax.runs import checkpoint
from asc_jax.runs.checkpoint import Checkpoints, Progress

# orbax leaves coroutines behind where reading has failed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def tree(mesh):
    rng = np.random.default_rng(0)
    arrays = {"params": {"kernel": rng.normal(size=(4, 300, 7)).astype(np.float32)},
              "step": np.arange(4, dtype=np.int32)}  # fmt: skip
    return put(arrays, mesh, PER_FOLD)


def save(folder, steps, tree, **more):
    with Checkpoints(folder) as checkpoints:
        for step in steps:
            checkpoints.save(Progress(step, **more), tree)


def restore(folder, like, **more):
    with Checkpoints(folder, **more) as checkpoints:
        return checkpoints.restore(like)


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.mark.parametrize("n_devices", [8, 1])
def test_restores_exactly_onto_any_mesh_and_keeps_the_newest(tmp_path, n_devices):
    saved, like = tree(make_mesh(4, 8)), tree(make_mesh(4, 8, jax.devices()[:n_devices]))
    assert restore(tmp_path / "c", like) is None
    save(tmp_path / "c", (1, 2, 3), saved)
    restored, progress = restore(tmp_path / "c", like)
    assert progress == Progress(3)
    jax.tree.map(np.testing.assert_array_equal, restored, saved)
    assert restored["step"].sharding == like["step"].sharding
    assert names(tmp_path / "c") == {"2", "3"}


def test_the_metrics_of_an_epoch_come_back_as_they_were(tmp_path, one_device):
    metrics = {
        "loss": np.array([[1 / 3, np.nan, np.inf], [-0.0, 1e-45, 3e38]], np.float32),
        "skipped": np.array([[0, 1, 0], [0, 0, 0]], np.int32),
    }
    lost = {"lr=9/seed0": "fold 1: the loss is not finite"}
    save(tmp_path / "c", [7], one_device, epochs=2, seconds=0.1, metrics=metrics, lost=lost)
    _, progress = restore(tmp_path / "c", one_device)
    assert (progress.step, progress.epochs, progress.seconds) == (7, 2, 0.1)
    assert progress.lost == lost
    for name, values in metrics.items():
        assert progress.metrics[name].dtype == values.dtype
        np.testing.assert_array_equal(progress.metrics[name], values)


@pytest.fixture(scope="module")
def one_device():
    return tree(make_mesh(4, 8, jax.devices()[:1]))


@pytest.fixture(scope="module")
def two_saved(one_device, tmp_path_factory):
    """A folder with the checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    save(folder, (1, 2), one_device)
    return folder


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def become_a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "unreadable": become_a_folder,
}


def largest_file(folder):
    return max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )


@pytest.mark.parametrize("where", ["state", "about"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_one_is_set_aside(two_saved, one_device, tmp_path, capsys, damage, where):
    folder = shutil.copytree(two_saved, tmp_path / "checkpoints")
    damage(largest_file(folder / "2" / where))
    restored, progress = restore(folder, one_device)
    assert progress.step == 1
    jax.tree.map(np.testing.assert_array_equal, restored, one_device)
    (line,) = capsys.readouterr().err.splitlines()
    aside = tmp_path / "checkpoints_damaged"
    assert line.startswith(f"{folder / '2'}: ") and str(aside / "2") in line and "step 1" in line
    assert (names(folder), names(aside)) == ({"1"}, {"2"})


def test_any_flipped_bit_gives_the_same_state_or_the_one_before(
    two_saved, one_device, tmp_path, capsys
):
    """In every file of a checkpoint, whatever orbax and tensorstore make of it."""
    files = [path for path in (two_saved / "2").rglob("*") if path.is_file()]
    for number, path in enumerate(files):
        folder = shutil.copytree(two_saved, tmp_path / str(number) / "checkpoints")
        flip(folder / path.relative_to(two_saved))
        restored, progress = restore(folder, one_device)
        jax.tree.map(np.testing.assert_array_equal, restored, one_device)
        assert progress.step == 1 or not capsys.readouterr().err
        capsys.readouterr()
    assert len(files) > 5


def test_down_to_the_beginning_and_nothing_is_overwritten(two_saved, one_device, tmp_path, capsys):
    folder, aside = tmp_path / "checkpoints", tmp_path / "checkpoints_damaged"
    for _ in range(2):
        shutil.copytree(two_saved, folder, dirs_exist_ok=True)
        for step in ("1", "2"):
            flip(largest_file(folder / step / "state"))
        assert restore(folder, one_device) is None
        assert len(capsys.readouterr().err.splitlines()) == 2
    assert names(folder) == set()
    assert names(aside) == {"1", "1.1", "2", "2.1"}
    save(folder, [1], one_device)
    assert restore(folder, one_device)[1].step == 1


@pytest.mark.parametrize(
    ("file", "target", "reason"),
    [
        ("_METADATA", "/proc/self/mem", "Input/output error"),  # read by Python
        ("d/*", "loop", "Too many levels of symbolic links"),  # by tensorstore
    ],
)
def test_what_cannot_be_read_is_no_damage(
    two_saved, one_device, tmp_path, capsys, file, target, reason
):
    folder = shutil.copytree(two_saved, tmp_path / "checkpoints")
    (path,) = (folder / "2" / "state").glob(file)
    path.unlink()
    path.symlink_to(path if target == "loop" else target)
    with refused() as caught:
        restore(folder, one_device)
    assert caught.value.path.startswith(str(folder / "2")) and reason in str(caught.value)
    assert names(folder) == {"1", "2"} and not capsys.readouterr().err


def test_what_a_device_says_is_no_damage(two_saved, one_device, tmp_path, capsys, monkeypatch):
    def put_like(leaf, sharding):
        raise jax.errors.JaxRuntimeError("INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE")

    folder = shutil.copytree(two_saved, tmp_path / "checkpoints")
    monkeypatch.setattr(checkpoint, "put_like", put_like)
    with pytest.raises(jax.errors.JaxRuntimeError, match="ECC"):
        restore(folder, one_device)
    assert names(folder) == {"1", "2"} and not capsys.readouterr().err


def test_reading_alone_moves_nothing(two_saved, one_device, tmp_path, capsys):
    folder = shutil.copytree(two_saved, tmp_path / "checkpoints")
    flip(largest_file(folder / "2" / "state"))
    _, progress = restore(folder, one_device, read_only=True)
    assert progress.step == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder / '2'}: ") and "step 1" in line
    assert (names(folder), names(tmp_path)) == ({"1", "2"}, {"checkpoints"})


def test_another_structure_is_refused_and_not_taken_for_damage(two_saved, one_device, capsys):
    other = one_device | {"step": one_device["step"].astype(np.float32)}
    for like, now in (({"params": one_device["params"]}, "not"), (other, "float32[4]")):
        with refused(path=two_saved / "2") as caught:
            restore(two_saved, like)
        assert all(part in str(caught.value) for part in ("['step']", "int32[4]", now))
    assert names(two_saved) == {"1", "2"} and not capsys.readouterr().err


def test_a_file_in_the_folders_place_is_one_line(tmp_path):
    (tmp_path / "c").write_text("a file")
    with refused(path=tmp_path / "c"):
        Checkpoints(tmp_path / "c")
