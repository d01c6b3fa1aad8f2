"""A training step of a small network on crops: plain, with each augmentation, with all of them.

Beside the time there is that of the processors, which says on a CPU what a step costs even where
others use them too.
"""

import pathlib
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np

from asc_jax.config.load import load_config
from asc_jax.data.audio import write_wav
from asc_jax.data.procedural import write_synthetic_dataset
from asc_jax.runs.inputs import read_data
from asc_jax.train.setup import epoch_indices, set_up
from benchmarks import measure

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "esc10_best.py"
SR = 44_100
# In the place of ESC-10: procedural clips, which need no files of anyone else.
ON_SCENES = (
    "data.channels=2", "data.clip_seconds=2.0", "folds.kind=location", "folds.n_folds=2",
    "augment.time_scale=0.0", "augment.between_class=False", "augment.gain_db=0.0",
)  # fmt: skip
QUICK = ("train.batch_size=8", "model.stage_sizes=(1,)", "model.stage_strides=(1,)")

ONE = {
    "time scale": ("time_scale=1.25",),
    "between-class mixing": ("between_class=True",),
    "impulse responses": ("impulse_responses={responses}", "impulse_p=0.5"),
    "noise": ("noise_level=0.1",),
    "gain": ("gain_db=6.0",),
    "Freq-MixStyle": ("freq_mixstyle_p=0.5",),
    "filter": ("filter_db=6.0",),
    "time roll": ("time_roll=0.5",),
    "mixup": ("mixup_alpha=0.3",),
    "masks": ("time_masks=2", "time_mask_frames=15", "mel_masks=2", "mel_mask_bands=8"),
}
SETTINGS = {"none": (), **ONE, "all": sum(ONE.values(), ())}
ROUNDS, IN_A_ROW = 5, 2


def run(args) -> dict:
    """Measures every augmentation; see `benchmarks.__main__` for the arguments."""
    names = ["none", *args.only] if args.only else SETTINGS
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        root = write_synthetic_dataset(
            folder / "set", clips_per_location=4, clip_seconds=2.0, sr=SR
        )
        write_responses(folder / "responses")
        more = QUICK if args.quick else ()
        calls = {name: stepper(root, folder, SETTINGS[name], more) for name in names}
        turns = (1, 1) if args.quick else (ROUNDS, IN_A_ROW)
        times = measure.alternate(calls, turns[0], in_a_row=turns[1], clock=clocks)
    medians = {name: np.median(seconds, axis=0) for name, seconds in times.items()}
    rows = []
    for name, (seconds, processors) in medians.items():
        ratios = medians[name] / medians["none"]
        rows.append({"augmentation": name, "ms": 1e3 * seconds, "of none's": ratios[0],
                     "processor ms": 1e3 * processors, "of none's processor ms": ratios[1],
                     "seconds": np.array(times[name]).tolist()})  # fmt: skip
    return {"rows": rows, "rounds": turns[0], "in a row": turns[1]}


def clocks() -> np.ndarray:
    """(2,) seconds: of the wall's clock, and of all processors for this process."""
    return np.array([time.perf_counter(), time.process_time()])


def write_responses(folder: pathlib.Path) -> None:
    """Ten decaying noises of 50 ms, as responses of devices."""
    rng = np.random.default_rng(0)
    time = np.arange(SR // 20) / SR
    for number in range(10):
        response = 0.1 * rng.standard_normal(len(time)) * np.exp(-time / 0.005)
        write_wav(folder / f"{number}.wav", response, SR)


def stepper(
    root: pathlib.Path, folder: pathlib.Path, fields: tuple[str, ...], more: tuple[str, ...]
) -> Callable[[], None]:
    """A function that does the next training step, with these fields of `augment`."""
    fields = [f"augment.{field.format(responses=folder / 'responses')}" for field in fields]
    words = [f"data.root={root}", f"data.cache_dir={folder / 'cache'}", *ON_SCENES, *more, *fields]
    config = load_config(CONFIG, [f"--config.{word}" for word in words])
    setup = set_up(config, *read_data(config), mesh_shape=(1, 1))
    ((pool, clips),) = setup.feed.calls([epoch_indices(setup, [0])[:, :1]])
    state = setup.init()

    def step():
        nonlocal state
        state, metrics = setup.train_steps(state, pool, clips)
        jax.block_until_ready((state, metrics))

    return step
