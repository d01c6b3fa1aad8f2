"""Programs that outlive their process: which are read, and which are compiled anew."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from asc_jax.augment import Augmentation
from asc_jax.config import frontend_config, load_config
from asc_jax.data.pool import log_mels
from asc_jax.frontend import FrontendConfig
from asc_jax.models import build
from asc_jax.models.wavegan import Discriminator, Generator
from asc_jax.run import make_network
from asc_jax.train import classifier, parallel, programs, wavegan
from asc_jax.train.classifier import BestEpoch, keep_best
from asc_jax.train.gan_losses import LOSSES
from asc_jax.train.optimizer import make_optimizer

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """Where this process keeps its programs for the length of a test."""
    programs.keep_in(tmp_path / "programs")
    yield tmp_path / "programs"
    programs.keep_in(None)


def make_program(step=keep_best, shape=(1, 1)) -> programs.Program:
    mesh = parallel.make_mesh(2, 2, shape=shape)
    specs = (parallel.PER_FOLD,) * 4
    return parallel.map_folds(step, mesh, in_specs=specs, out_specs=parallel.PER_FOLD, donate=(0,))


def arguments(size=3) -> tuple:
    """Of `keep_best`, for two folds: the first keeps its best epoch, the second has a better."""
    best, now = (
        BestEpoch({"kernel": np.full((2, size), value, np.float32)}, {}, scores, epochs)
        for value, scores, epochs in (
            (1, np.array([0.5, 0.5], np.float32), np.array([1, 1], np.int32)),
            (2, np.zeros(2, np.float32), np.zeros(2, np.int32)),
        )
    )
    return best, now, np.array([0.4, 0.6], np.float32), np.array([2, 2], np.int32)


def in_another_process(program: programs.Program) -> programs.Program:
    """One as a later process makes it, where it must not be traced."""

    class Untraced:
        def lower(self, *_):
            raise AssertionError("traced again")

    program._function = Untraced()
    return program


def test_a_kept_program_is_read_and_does_what_the_compiled_one_did(folder):
    best, *rest = arguments()
    for program in (make_program(), in_another_process(make_program())):
        consumed = parallel.put(best, parallel.make_mesh(2, 2, shape=(1, 1)), parallel.PER_FOLD)
        result = program(consumed, *rest)
        np.testing.assert_array_equal(result.params["kernel"][:, 0], [1, 2])
        np.testing.assert_array_equal(result.epoch, [1, 2])
        assert consumed.params["kernel"].is_deleted()
        program(result, *rest)  # which may lie on the devices under another name
    assert len(list(folder.iterdir())) == 1


def test_a_later_process_neither_traces_nor_compiles(tmp_path):
    script = """
import pathlib, sys, jax
sys.path.insert(0, "tests/train")
import test_programs
from asc_jax.train import programs
events = []
listen = lambda event, seconds, **_: events.append(event)
programs.keep_in(pathlib.Path(sys.argv[1]))
program, arguments = test_programs.make_program(), test_programs.arguments()
jax.monitoring.register_event_duration_secs_listener(listen)
result = program(*arguments)
print(sum("compile" in event for event in events), result.epoch.tolist())
"""
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "random"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        said.append(done.stdout.split(maxsplit=1))
    assert int(said[0][0]) > 0 == int(said[1][0])
    assert said[0][1] == said[1][1] == "[1, 2]\n"


def test_other_arguments_and_other_places_are_other_programs(folder):
    program = make_program()
    for size in (3, 4, 3):
        program(*arguments(size))
    assert len(list(folder.iterdir())) == 2
    make_program(shape=(2, 1))(*arguments())
    assert len(list(folder.iterdir())) == 3


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package's files that programs are told by."""
    copy = tmp_path / "asc_jax"
    shutil.copytree(programs.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(programs, "PACKAGE", copy)
    return copy


def test_a_program_for_edited_source_is_another(folder, package):
    for content in (b"", b"\n"):
        (package / "edited.py").write_bytes(content)
        os.utime(package / "edited.py", (0, 0))  # before this process began
        make_program()(*arguments())
    assert len(list(folder.iterdir())) == 2


def test_source_that_was_edited_since_the_start_neither_reads_nor_keeps(folder, package):
    make_program()(*arguments())
    os.utime(package / "__init__.py", (2**32, 2**32))
    with pytest.raises(AssertionError, match="traced again"):
        in_another_process(make_program())(*arguments())
    for file in folder.iterdir():
        file.unlink()
    make_program()(*arguments())
    assert not list(folder.iterdir())


def flip(whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]


DAMAGES = {
    "empty": lambda whole: b"",
    "other": lambda whole: b"no program",
    "cut": lambda whole: whole[: len(whole) // 2],
    "a bit": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_compiled_anew(folder, damage):
    make_program()(*arguments())
    (file,) = folder.iterdir()
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    result = make_program()(*arguments())
    np.testing.assert_array_equal(result.epoch, [1, 2])
    in_another_process(make_program())(*arguments())  # and whole again


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, folder):
    (tmp_path / "file").touch()
    programs.keep_in(tmp_path / "file" / "programs")
    assert make_program()(*arguments()).epoch.tolist() == [1, 2]


def test_only_so_many_are_kept_and_the_longest_unread_go_first(folder, monkeypatch):
    monkeypatch.setattr(programs, "MOST", 2)
    program, names = make_program(), []
    for number, size in enumerate((3, 4, 5)):
        program(*arguments(size))
        (new,) = set(folder.iterdir()) - set(names)
        names.append(new)
        os.utime(new, (number, number))
        if size == 4:
            in_another_process(make_program())(*arguments(3))
    assert set(folder.iterdir()) == {names[0], names[2]}


def test_nothing_is_read_or_kept_unless_it_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(programs, "_read", lambda *_: asked.append("read"))
    monkeypatch.setattr(programs, "_write", lambda *_: asked.append("write"))
    make_program()(*arguments())
    make_program().compiled(*arguments())
    assert not asked


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({"XDG_CACHE_HOME": "/there"}, "/there/asc_jax/xla"),
        ({"JAX_COMPILATION_CACHE_DIR": "/there"}, "/there"),
        ({"JAX_COMPILATION_CACHE_DIR": ""}, "None"),
        ({"JAX_COMPILATION_CACHE_DIR": "gs://there"}, "None"),
        ({"JAX_ENABLE_COMPILATION_CACHE": "false"}, "None"),
    ],
)
def test_a_command_keeps_its_programs_in_the_cache(variables, kept):
    ours = {name: v for name, v in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    script = "from asc_jax import cli; cli._start_jax()\nfrom asc_jax.train import programs\n"
    done = subprocess.run(
        [sys.executable, "-c", script + "print(programs._folder)"],
        cwd=ROOT, env=ours | variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{kept}\n"


def test_the_programs_of_runs_can_be_told_apart():
    """Else they would be traced in each process, without a word."""
    config = load_config(ROOT / "configs" / "resnet50.py", ["--config.data.root=there"])
    mesh = parallel.make_mesh(1, 1)
    shape = {"frontend": frontend_config(config), "n_frames": config.data.n_frames}
    classifiers = classifier.compile_steps(
        mesh,
        make_network(config, 10),
        functools.partial(make_optimizer, **ADAM),
        features=functools.partial(log_mels, **shape),
        augmentation=Augmentation(**config.augment),
    )
    sizes = {"dim": 4, "n_samples": 16384, "dtype": jnp.dtype("float32")}
    networks = wavegan.Networks(Generator(**sizes), Discriminator(**sizes), LOSSES["wgan_gp"], 8)
    gans = wavegan.compile_steps(mesh, networks, n_segments=1, n_samples=16384, how="concatenate")
    steps = [*vars(classifiers).values(), *vars(gans).values()]
    told = {json.dumps(programs.describe(step._traced_from)) for step in steps}
    assert len(told) == len(steps)


def local(*args):
    return keep_best(*args)


@pytest.mark.parametrize("step", [local, lambda *args: keep_best(*args)], ids=["test", "lambda"])
def test_a_function_from_elsewhere_is_not_kept(folder, step):
    assert make_program(step)(*arguments()).epoch.tolist() == [1, 2]
    assert not folder.exists()


NETWORK = {"name": "resnet", "stage_sizes": (1,), "stage_strides": (1,)}
ADAM = {"name": "adam", "schedule": "cosine", "n_steps": 10, "clip_norm": 0}


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (build(NETWORK | {"width": 8}, 10), build(NETWORK | {"width": 16}, 10)),
        (build(NETWORK, 10), build(NETWORK, 10, dtype=jnp.bfloat16)),
        (FrontendConfig(n_mels=40), FrontendConfig(n_mels=80)),
        (Augmentation(), Augmentation(mixup_alpha=0.2)),
        (
            functools.partial(make_optimizer, **ADAM),
            functools.partial(make_optimizer, **(ADAM | {"n_steps": 11})),
        ),
        (LOSSES["wgan_gp"], LOSSES["lsgan"]),
        ((1, 2), (1, (2,))),
        ([1], (1,)),
        ("1", 1),
        ({1: 0}, {"1": 0}),
        (jnp.dtype("bfloat16"), np.dtype("V2")),
        (None, False),
    ],
)
def test_a_description_tells_values_apart(value, other):
    assert programs.describe(value) == programs.describe(value) != programs.describe(other)


@pytest.mark.parametrize(
    "value",
    [
        lambda: 0,
        local,
        object(),
        np.float64(0.1),
        np.zeros(2),
        functools.partial(local),
        (1, [object()]),
    ],
)
def test_what_no_name_tells_apart_has_no_description(value):
    with pytest.raises(programs.Unnameable):
        programs.describe(value)
