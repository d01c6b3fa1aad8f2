"""A training step of a small network on crops: plain, with each augmentation, with all of them."""

import pathlib
import tempfile
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

MIXUP = "mixup"
AUGMENTATIONS = {
    "time scale": ("time_scale=1.25",),
    "between-class mixing": ("between_class=True",),
    "impulse responses": ("impulse_responses={responses}", "impulse_p=0.5"),
    "noise": ("noise_level=0.1",),
    "gain": ("gain_db=6.0",),
    "Freq-MixStyle": ("freq_mixstyle_p=0.5",),
    "filter": ("filter_db=6.0",),
    "time roll": ("time_roll=0.5",),
    "masks": ("time_masks=2", "time_mask_frames=15", "mel_masks=2", "mel_mask_bands=8"),
    MIXUP: ("mixup_alpha=0.3",),
}
ROUNDS, IN_A_ROW = 5, 2


def run(args) -> dict:
    """Measures every augmentation; see `benchmarks.__main__` for the arguments."""
    names = args.only or AUGMENTATIONS
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        root = write_synthetic_dataset(
            folder / "set", clips_per_location=3, clip_seconds=2.0, sr=SR
        )
        write_responses(folder / "responses")
        settings = {"none": ()} | {name: AUGMENTATIONS[name] for name in names}
        without_mixup = [AUGMENTATIONS[name] for name in AUGMENTATIONS if name != MIXUP]
        settings["all but mixup"] = sum(without_mixup, ())
        settings["all"] = sum(AUGMENTATIONS.values(), ())
        calls = {
            name: stepper(root, folder, fields, QUICK if args.quick else ())
            for name, fields in settings.items()
        }
        turns = (1, 1) if args.quick else (ROUNDS, IN_A_ROW)
        times = measure.alternate(calls, turns[0], in_a_row=turns[1])
    medians = measure.medians(times)
    rows = [
        {"augmentation": name, "ms": 1e3 * seconds, "of none's time": seconds / medians["none"],
         "seconds": times[name]}
        for name, seconds in medians.items()
    ]  # fmt: skip
    return {"rows": rows, "rounds": turns[0], "in a row": turns[1]}


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
    ((pool, clips),) = setup.feed.calls([epoch_indices(setup, epoch=0)[:, :1]])
    state = setup.init()

    def step():
        nonlocal state
        state, metrics = setup.train_steps(state, pool, clips)
        jax.block_until_ready((state, metrics))

    return step
