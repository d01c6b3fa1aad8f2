"""A procedural acoustic-scene data set in the layout of TUT Urban Acoustic Scenes 2018.

Nothing in it was recorded. It is there so that every command can be tried, tested and timed
before the real archives are fetched; a score on it says nothing about real scenes. How the
clips sound is in `procedural_scenes`; this module plans the locations and writes the files.
"""

import concurrent.futures
import dataclasses
import io
import json
import os
import pathlib
import shutil
import wave

import numpy as np

from asc_jax.data.procedural_scenes import RECIPES, scene_waveform
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import parse_json

# Raise it with any change that alters a sample: an earlier output is then not "the same set".
_RECIPE_VERSION = 1
# Made-up names: a procedural file must not pass for one of the real set's recordings.
_CITIES = ("alder", "birch", "cedar", "elm", "hazel", "rowan")
_TEST_SHARE = 0.3
_FRAME_BYTES = 6  # stereo, 24 bits
# What `asc-jax data synth` calls the arguments.
_FLAGS = {"seed": "--seed", "locations_per_scene": "--locations", "clips_per_location": "--clips",
          "clip_seconds": "--seconds"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Row:
    """One clip of the set, before it is written."""

    scene_label: str
    city: str
    location: int
    segment: int
    held_out: bool

    @property
    def path(self) -> str:
        name = f"{self.scene_label}-{self.city}-{self.location}-{self.segment}-a.wav"
        return f"audio/{name}"


def write_synthetic_dataset(
    root: str | os.PathLike[str],
    *,
    seed: int = 0,
    n_cities: int = 3,
    locations_per_scene: int = 4,
    clips_per_location: int = 4,
    clip_seconds: float = 10.0,
    sr: int = 48000,
    workers: int | None = None,
) -> pathlib.Path:
    """Writes a procedural data set in the layout of TUT Urban Acoustic Scenes 2018 development.

    The same arguments give the same bytes, whatever `workers` is. A complete output of the same
    arguments is left as it is, an interrupted one is completed.

    Args:
      root: the folder to write: new, empty, or an earlier output of the same arguments.
      seed: 0 to 2**32 - 1.
      n_cities: over how many cities the locations are spread, 1 to 6.
      locations_per_scene: 2 to 1,000, so that each scene has locations to train and to test on;
        about 30 % of them are held out in the published fold 1.
      clips_per_location: 1 to 1,000.
      clip_seconds: length of every clip in seconds, 0.1 to 300.
      sr: sampling rate in Hz, 16,000 to 192,000.
      workers: number of threads; all cores if None.

    Returns:
      The root: `audio/*.wav` (24-bit PCM, stereo), `meta.csv`, `evaluation_setup/fold1_*.txt`,
      `README.md`, `synth.json` (the arguments).

    Raises:
      InputError: an argument is out of range, the disk has too little room, the folder holds
        something else, or it cannot be written.
    """
    limits = {"seed": (seed, 0, 2**32 - 1), "n_cities": (n_cities, 1, len(_CITIES)),
              "clip_seconds": (clip_seconds, 0.1, 300), "sr": (sr, 16000, 192000),
              "locations_per_scene": (locations_per_scene, 2, 1000),
              "clips_per_location": (clips_per_location, 1, 1000)}  # fmt: skip
    for field, (value, least, most) in limits.items():
        if not least <= value <= most:
            flag = f" ({_FLAGS[field]})" if field in _FLAGS else ""
            raise InputError(
                f"must be from {least} to {most}{flag}; correct it", field=field, value=value
            )
    if workers is not None and workers < 1:
        raise InputError("set it to 1 or more, or leave it out", field="workers", value=workers)
    root = pathlib.Path(root)
    parameters = {field: value for field, (value, *_) in sorted(limits.items())}
    parameters["clip_seconds"] = float(clip_seconds)
    n_clips = len(RECIPES) * locations_per_scene * clips_per_location
    try:
        _refuse_full_disk(root, n_clips, round(clip_seconds * sr) * _FRAME_BYTES)
        rows = _plan(seed, n_cities, locations_per_scene, clips_per_location)
        _claim_folder(root, {"recipe_version": _RECIPE_VERSION, **parameters})
        _write_audio(root, rows, seed, round(clip_seconds * sr), sr, workers)
        _write_tables(root, rows, seed)
    except OSError as error:
        raise InputError(
            f"{error.strerror}; make room or choose a writable folder, then run the same "
            "command again",
            path=error.filename or root,
        ) from error
    return root


def _refuse_full_disk(root: pathlib.Path, n_clips: int, clip_bytes: int) -> None:
    """Refuses a set that the disk has no room for, before anything is written."""
    written = len(list(root.glob("audio/*.wav")))
    needed = (n_clips - written) * clip_bytes
    folder = root.absolute()
    while not os.path.exists(folder):
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{n_clips} clips need {needed / 1e9:,.1f} GB, and "
            f"{free / 1e9:,.1f} GB are free; write fewer or shorter clips, or make room",
            path=root,
        )


def _plan(seed: int, n_cities: int, n_locations: int, n_clips: int) -> list[_Row]:
    rng = np.random.default_rng(np.random.SeedSequence((seed, len(RECIPES))))
    rows = []
    for scene_index, scene_label in enumerate(RECIPES):
        # Rounding the running total gives 30 % of all locations where a scene's own share is
        # no whole number.
        quota = round(_TEST_SHARE * n_locations * (scene_index + 1))
        quota -= round(_TEST_SHARE * n_locations * scene_index)
        held_out = rng.permutation(n_locations)[: min(max(quota, 1), n_locations - 1)]
        for i in range(n_locations):
            location = scene_index * n_locations + i
            city = _CITIES[location % n_cities]
            rows += [_Row(scene_label, city, location, k, i in held_out) for k in range(n_clips)]
    return rows


def _claim_folder(root: pathlib.Path, parameters: dict[str, float]) -> None:
    """Marks an empty folder as ours, or checks that it is an earlier output of `parameters`."""
    mark = root / "synth.json"
    root.mkdir(parents=True, exist_ok=True)
    # Stopped while it wrote the mark itself, a first run leaves only the mark's `.part`.
    if {path.name for path in root.iterdir()} <= {"synth.json.part"}:
        _write_atomically(mark, (json.dumps(parameters, indent=2) + "\n").encode())
        return
    try:
        found = parse_json(mark.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        found = None
    if not isinstance(found, dict) or "recipe_version" not in found:
        raise InputError(
            "not empty, and not a procedural set; choose a new or empty folder", path=root
        )
    for field, value in parameters.items():
        if found.get(field) != value:
            raise InputError(
                f"holds a procedural set with {field} {found.get(field)}, not {value}; choose "
                "another folder, or delete this one",
                path=root,
            )


def _write_audio(
    root: pathlib.Path, rows: list[_Row], seed: int, n_samples: int, sr: int, workers: int | None
) -> None:
    from asc_jax.parallel.bar import make_bar

    missing = [row for row in rows if not (root / row.path).exists()]
    if not missing:
        return
    (root / "audio").mkdir(exist_ok=True)

    def write(row: _Row) -> None:
        waveform = scene_waveform(
            row.scene_label, row.location, row.segment, seed=seed, n_samples=n_samples, sr=sr
        )
        _write_atomically(root / row.path, _wav_bytes(waveform, sr))

    # Threads, since numpy and scipy.fft release the GIL on arrays of this size; forked
    # processes would not be safe once JAX has been imported.
    pool = concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count())
    try:
        jobs = [pool.submit(write, row) for row in missing]
        with make_bar(len(jobs), "clip", "procedural clips") as bar:
            for job in concurrent.futures.as_completed(jobs):
                job.result()
                bar.update()
    finally:
        pool.shutdown(cancel_futures=True)


def _wav_bytes(waveform: np.ndarray, sr: int) -> bytes:
    """A waveform (T, C) within ±1 as a 24-bit PCM WAV file."""
    # In memory, so that a full disk is an OSError: libsndfile only reports fewer frames.
    samples = np.rint(waveform * np.float32(2**23 - 1)).astype("<i4", order="C")
    with io.BytesIO() as buffer:
        with wave.open(buffer, "wb") as file:
            file.setparams((samples.shape[1], 3, sr, 0, "NONE", ""))
            file.writeframes(np.ascontiguousarray(samples.view(np.uint8).reshape(-1, 4)[:, :3]))
        return buffer.getvalue()


def _write_tables(root: pathlib.Path, rows: list[_Row], seed: int) -> None:
    train = [f"{row.path}\t{row.scene_label}" for row in rows if not row.held_out]
    evaluate = [f"{row.path}\t{row.scene_label}" for row in rows if row.held_out]
    meta = [f"{row.path}\t{row.scene_label}\t{row.city}-{row.location}\ta" for row in rows]
    tables = {
        "README.md": [
            f"Procedural sounds made by `asc_jax.data.procedural` with seed {seed}: no recordings, "
            "only the layout of TUT Urban Acoustic Scenes 2018. Scores on it say nothing of real "
            "scenes."
        ],
        "evaluation_setup/fold1_train.txt": train,
        "evaluation_setup/fold1_evaluate.txt": evaluate,
        "evaluation_setup/fold1_test.txt": [row.path for row in rows if row.held_out],
        # Last: a folder with meta.csv is complete.
        "meta.csv": ["filename\tscene_label\tidentifier\tsource_label", *meta],
    }
    (root / "evaluation_setup").mkdir(exist_ok=True)
    for name, lines in tables.items():
        if not (root / name).exists():
            _write_atomically(root / name, ("\n".join(lines) + "\n").encode())


def _write_atomically(path: pathlib.Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
