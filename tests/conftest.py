"""Eight virtual CPU devices, and a data set that the slower tests share."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import types

import browser
import numpy as np
import pytest
from checkout import COMPILE_QUICKLY, ROOT

# Before JAX is imported. Several devices: a mesh is then tested on any machine. Nearly all of
# the tests' time is compilation, and none of them times anything.
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8", COMPILE_QUICKLY]
)
# Tests that build the same step share its compiled program, for the length of one session;
# the workers of pytest-xdist find the controller's folder in their environment.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _programs = tempfile.TemporaryDirectory(prefix="asc_jax_programs_")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def _hear_signals() -> None:
    """Sets the signals as they are in a command that is started by hand.

    Whoever runs the tests may ignore some, and a command that was stopped ignores all of them;
    what a test starts would inherit it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(items):
    """Files of whole commands come first: a long file that came last would keep one core alone."""
    items.sort(key=lambda item: len(item.path.parts))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    _hear_signals()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    _hear_signals()  # a fixture may have been stopped


SHARED = ROOT.parent / "shared"


def _present(name: str) -> pathlib.Path:
    folder = SHARED / name
    if not folder.is_dir():
        # Real recordings have licences of their own and stay out of the project.
        pytest.skip(f"{name} is not beside the checkout (looked in ../shared)")
    return folder


@pytest.fixture(scope="session")
def esc10() -> pathlib.Path:
    """The real ESC-10 in the TUT layout, where it is at hand."""
    return _present("esc10")


@pytest.fixture(scope="session")
def tut2018_sample() -> pathlib.Path:
    """Three real clips of TUT Urban Acoustic Scenes 2018, where they are at hand."""
    return _present("tut2018_sample")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> pathlib.Path:
    """A small procedural data set: 10 scenes, 4 locations each, 2 clips of 1 s each."""
    from asc_jax.data.procedural import write_synthetic_dataset

    return write_synthetic_dataset(
        tmp_path_factory.mktemp("scenes") / "set",
        locations_per_scene=4,
        clips_per_location=2,
        clip_seconds=1.0,
    )


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory, monkeypatch):
    """Caches of the tests stay out of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def mount_disk(tmp_path):
    """Mounts small file systems: (size) -> folder, and a function that gives it another size."""
    folder = tmp_path / "disk"
    mount = lambda options: ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = []

    def make(size: str):
        folder.mkdir()
        if (
            shutil.which("mount") is None
            or subprocess.run(mount(f"size={size}"), capture_output=True).returncode
        ):
            # A disk that is really full has no stand-in, and mounting one takes root.
            pytest.skip("mounting a small file system takes rights that this user lacks")
        mounted.append(folder)
        return folder, lambda size: subprocess.run(mount(f"remount,size={size}"), check=True)

    yield make
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a browser; see `browser`."""
    return browser.find()


@pytest.fixture
def process_as_it_was(monkeypatch):
    """Commands that run in this process leave its settings and its logging alone."""
    from asc_jax import cli

    monkeypatch.setattr(cli, "_start_jax", lambda: None)


@pytest.fixture
def stop_at_step(monkeypatch, process_as_it_was):
    """A function: (n) -> the n-th step from now on ends with a SIGTERM to this process."""
    from asc_jax.train.progress_bar import StepBar

    update, left = StepBar.update, []

    def count(bar, n):
        if left:
            left[0] -= n
            if left[0] <= 0:
                left.clear()
                signal.raise_signal(signal.SIGTERM)
        return update(bar, n)

    monkeypatch.setattr(StepBar, "update", count)
    return left.append


@pytest.fixture(scope="session", autouse=True)
def quick_to_compile():
    """The level of `XLA_FLAGS` above, against the one that steps ask for.

    They are compiled more often here than they run.
    """
    from asc_jax.parallel.mapping import COMPILER_OPTIONS

    COMPILER_OPTIONS["cpu"]["xla_backend_optimization_level"] = 0


N_CLIPS, N_FRAMES, N_MELS, N_CLASSES = 40, 24, 16, 3


@pytest.fixture(scope="session")
def small_pool():
    """40 clips of 24 frames and 16 bands; each class has its own loud band."""
    from asc_jax.data.pool import Pool

    rng = np.random.default_rng(0)
    targets = np.arange(N_CLIPS, dtype=np.int32) % N_CLASSES
    log_mels = rng.normal(size=(N_CLIPS, N_FRAMES, N_MELS))
    log_mels[np.arange(N_CLIPS), :, 4 * targets] += 2
    return Pool(
        values=np.rint(1000 * log_mels).astype(np.int16),
        scale=np.full(N_CLIPS, 1e-3, np.float32),
        offset=np.full(N_CLIPS, -5, np.float32),
        targets=targets,
    )


@pytest.fixture(scope="session")
def small_splits():
    """Four folds; the training parts differ in size."""
    from asc_jax.data.folds import Split

    clips = np.arange(N_CLIPS, dtype=np.int32)
    fold_of = np.concatenate([np.full(n, f) for f, n in enumerate((13, 10, 9, 8), start=1)])
    nothing = np.array([], np.int32)
    return tuple(
        Split(fold, clips[fold_of != fold], nothing, clips[fold_of == fold]) for fold in range(1, 5)
    )


@pytest.fixture(scope="session")
def small_model() -> types.MappingProxyType:
    """The `model` group of a config: a network small enough to train in a test."""
    sizes = {"stage_sizes": (1, 1), "stage_strides": (1, 2), "width": 4}
    return types.MappingProxyType({"name": "resnet", **sizes, "se_ratio": 2})
