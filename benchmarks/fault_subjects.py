"""The commands that `benchmarks.faults` strikes: tiny, but through the whole of what users run."""

import dataclasses
import hashlib
import itertools
import json
import pathlib
import shutil
import time
from collections.abc import Callable

import numpy as np

from asc_jax.runs.metrics_log import read_metrics, untimed

STEPS_PER_EPOCH, SAVE_EVERY = 5, 2
CLASSIFIER = {
    "data.clip_seconds": 1.0,
    "data.n_frames": 50,
    "frontend.n_mels": 16,
    "model.stage_sizes": (1,),
    "model.stage_strides": (1,),
    "model.width": 4,
    "model.se_ratio": 0,
    "augment.mixup_alpha": 0.0,
    "folds.n_folds": 2,
    "folds.test_fold": 0,
    "train.batch_size": 8,
    "train.save_every": SAVE_EVERY,
}
GAN = {
    "gan.scenes": ("bus", "tram"),
    "gan.unseen_fraction": 0.5,
    "gan.dim": 1,
    "gan.n_samples": 4096,
    "gan.n_latent": 8,
    "gan.loss": "lsgan",
    "train.batch_size": 2,
    "train.epochs": 4,
    "train.steps_per_epoch": STEPS_PER_EPOCH,
    "train.save_every": SAVE_EVERY,
    "train.watch_clips": 3,
}
N_CLIPS = 64

_NUMBERS = itertools.count()  # of places


@dataclasses.dataclass
class Subject:
    """A command, and what it leaves behind.

    Attributes:
      name: for the table.
      home: folder for all its runs.
      words: (place) -> the command's words; what it writes goes to the place.
      result: (place) -> all that must not differ, in comparable form.
      reached: (place, share, steps, seconds) -> whether a process has come so far: the share
        of its way, after so many steps of the run and so many seconds.
      begin: (place) -> puts there what the command starts from.
      delay: between then and the fault, at most, s.
      per_run: faults on the way to one end.
      save_every: steps; 0 for a command without steps.
      precious: (place) -> the files of which one is damaged.
      when_full: status on a disk that is full.
      reference: the place of a run that nothing struck, its result and the bytes it takes.
    """

    name: str
    home: pathlib.Path
    words: Callable[[pathlib.Path], list]
    result: Callable[[pathlib.Path], object]
    reached: Callable[[pathlib.Path, float, int, float], bool]
    begin: Callable[[pathlib.Path], object] = lambda place: place.mkdir()
    delay: float = 0.1
    per_run: int = 5
    save_every: int = 0
    precious: Callable[[pathlib.Path], list[pathlib.Path]] = lambda place: files_in(place)
    when_full: int = 2
    reference: pathlib.Path = pathlib.Path()
    whole: object = None
    size: int = 0
    seconds: float = 0.0

    @property
    def counter(self) -> pathlib.Path:
        """A file with a byte for each step of the newest process."""
        return self.home / "counter"

    def run_whole(self, run: Callable, *, timed: bool = True) -> "Subject":
        """Runs the command undisturbed: what every other run is compared with."""
        self.home.mkdir()
        if timed:
            run(self, self.fresh())  # compiles
        self.reference = self.fresh()
        started = time.perf_counter()
        run(self, self.reference)
        self.seconds = time.perf_counter() - started
        self.whole = self.result(self.reference)
        blocks = [-(-path.stat().st_size // 4096) for path in files_in(self.reference)]
        self.size = 4096 * sum(blocks)
        return self

    def fresh(self, under: pathlib.Path | None = None) -> pathlib.Path:
        """A new place from which the command has everything before it."""
        place = (under or self.home) / f"run{next(_NUMBERS)}"
        self.begin(place)
        return place

    def copied(self) -> pathlib.Path:
        """A new place where the command is done."""
        return shutil.copytree(self.reference, self.home / f"run{next(_NUMBERS)}")

    def saved_step(self, place: pathlib.Path) -> int:
        """The step of the newest checkpoint, 0 without one."""
        return int(newest(place).name) if self.save_every and newest(place) else 0


def environment(folder: pathlib.Path) -> dict[str, str]:
    """One CPU device as users have it; decoded data and compiled programs are shared."""
    return {
        "XLA_FLAGS": "",
        "JAX_PLATFORMS": "cpu",
        "XDG_CACHE_HOME": str(folder / "shared"),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "shared" / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def prepare(folder: pathlib.Path, *, small: bool, run: Callable) -> dict[str, Subject]:
    """The subjects by name, each with its undisturbed result.

    Args:
      folder: for all of it.
      small: training alone, shorter.
      run: (subject, place) -> runs its command to its end.
    """
    from asc_jax.data.procedural import write_synthetic_dataset

    data = write_synthetic_dataset(
        folder / "data", locations_per_scene=4, clips_per_location=2, clip_seconds=1.0
    )
    fields = {"data.root": data, **CLASSIFIER}
    train = lambda place, **more: words("train", "demo", place, fields | more)
    training = _training(folder, train, epochs=3 if small else 6).run_whole(run, timed=not small)
    saving = dataclasses.replace(
        training,
        name="saving",
        reached=lambda place, share, steps, seconds: (
            training.reached(place, share, steps, seconds) and is_saving(place)
        ),
        delay=0.02,
    )
    subjects = [training, saving]
    if not small:
        gan = _gan(folder, training)
        later = (
            _cache(folder, train),
            _evaluation(folder, training),
            gan,
            _synthesis(folder, gan),
        )
        subjects += [one.run_whole(run) for one in later]
    return {one.name: one for one in subjects}


def _training(folder: pathlib.Path, train: Callable, *, epochs: int) -> Subject:
    return Subject(
        "training",
        folder / "training",
        words=lambda place: train(place, **{"train.epochs": epochs}),
        result=end_of_training,
        reached=lambda place, share, steps, _: steps > share * epochs * STEPS_PER_EPOCH,
        save_every=SAVE_EVERY,
        precious=files_of_checkpoint,
    )


def _cache(folder: pathlib.Path, train: Callable) -> Subject:
    run_of = lambda place: folder / "cache" / f"run_{place.name}"
    return Subject(
        "cache",
        folder / "cache",
        words=lambda place: train(
            run_of(place), **{"data.cache_dir": place, "train.epochs": 1, "train.save_every": 0}
        ),
        result=lambda place: (contents(place), end_of_training(run_of(place))),
        reached=lambda place, *_: any(place.glob("*.partial-*")),
        begin=lambda place: (place.mkdir(), shutil.rmtree(run_of(place), ignore_errors=True)),
        delay=0.15,
        when_full=0,
    )


def _evaluation(folder: pathlib.Path, training: Subject) -> Subject:
    evaluation = Subject(
        "evaluation",
        folder / "evaluation",
        words=lambda place: ["evaluate", f"--workdir={place}"],
        result=evaluated,
        reached=lambda place, share, _, seconds: seconds > share * evaluation.seconds,
        begin=lambda place: shutil.copytree(training.reference, place),
        delay=0.5,
        per_run=4,
    )
    return evaluation


def _gan(folder: pathlib.Path, training: Subject) -> Subject:
    gan_fields = {"gan.classifier": training.reference, **GAN}
    return Subject(
        "GAN training",
        folder / "gan",
        words=lambda place: words("gan", "wavegan", place, gan_fields),
        result=end_of_training,
        reached=lambda place, share, steps, _: (
            steps > share * GAN["train.epochs"] * STEPS_PER_EPOCH
        ),
        per_run=3,
        save_every=SAVE_EVERY,
        precious=files_of_checkpoint,
    )


def _synthesis(folder: pathlib.Path, gan: Subject) -> Subject:
    return Subject(
        "synthesis",
        folder / "synthesis",
        words=lambda place: [
            "synthesize", f"--workdir={gan.reference}", f"--out={place}",
            f"--config.synthesis.n_clips={N_CLIPS}", "--config.synthesis.rules=()",
        ],
        result=lambda place: (contents(place / "audio"), (place / "manifest.jsonl").read_text()),
        reached=lambda place, share, *_: n_wavs(place) > share * N_CLIPS,
        delay=0.02,
    )  # fmt: skip


def words(command: str, config: str, place: pathlib.Path, fields: dict) -> list[str]:
    """A command that takes a config."""
    overrides = [f"--config.{field}={value}" for field, value in fields.items()]
    return [command, f"--config=configs/{config}.py", f"--workdir={place}", *overrides]


def newest(place: pathlib.Path) -> pathlib.Path | None:
    """The folder of a run's newest checkpoint."""
    folders = [path for path in (place / "checkpoints").glob("*") if path.name.isdigit()]
    return max(folders, key=lambda path: int(path.name), default=None)


def is_saving(place: pathlib.Path) -> bool:
    """Whether a checkpoint is half written."""
    return any(not path.name.isdigit() for path in (place / "checkpoints").glob("*"))


def files_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def files_of_checkpoint(place: pathlib.Path) -> list[pathlib.Path]:
    """What is read of a run's newest checkpoint: its description and its arrays.

    Most bytes of one so small are orbax's notes on shardings, and a second copy.
    """
    arrays = newest(place) / "state"
    return [
        newest(place) / "about" / "metadata",
        arrays / "manifest.ocdbt",
        *files_in(arrays / "d"),
    ]


def n_wavs(place: pathlib.Path) -> int:
    """Clips that are there."""
    return sum(1 for _ in (place / "audio").glob("*.wav"))


def contents(folder: pathlib.Path) -> dict[str, str]:
    """Path of each file -> digest; what a killed process has left half written does not count."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_in(folder)
        if "partial" not in str(path)
    }


def end_of_training(place: pathlib.Path) -> tuple:
    """Step and checksums of the last state, and the log without its times."""
    log = untimed(read_metrics(place / "metrics.jsonl"))
    return newest(place).name, (newest(place) / "about" / "metadata").read_text(), log


def evaluated(place: pathlib.Path) -> tuple:
    """Logits, and the report but for its date."""
    with np.load(place / "logits.npz") as stored:
        arrays = {name: (stored[name].shape, stored[name].tobytes()) for name in stored.files}
    report = json.loads((place / "report.json").read_text())
    return arrays, {name: value for name, value in report.items() if name != "created"}
