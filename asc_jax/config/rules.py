"""Which values the fields of a config may have, and the rules to say so with."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from asc_jax import models
from asc_jax.config import choices as known
from asc_jax.data import decoding, folds, normalisation
from asc_jax.frontend import FRONTENDS, NORMS, PAD_MODES, WINDOWS, FrontendConfig
from asc_jax.models import phase_shuffle, resnet, wavegan
from asc_jax.runtime.functions import is_own

# Whole numbers without a limit of their own: devices count with 32 bits.
MANY = 2**31 - 1

# What is computed with is float32: beyond these a number is infinite there, or zero.
LARGEST, SMALLEST = 1e38, 1e-37


class Rule(NamedTuple):
    """What a value must be, in words, and whether one is that."""

    expected: str
    fits: Callable[[object], bool]


def number(low: float, high: float = LARGEST) -> Rule:
    """Takes finite numbers from `low` to `high`; NaN is in no range."""
    fits = lambda value: _is_a(value, (int, float)) and low <= value <= high
    return Rule(f"a number of at least {low:g}, at most {high:g}", fits)


def positive(high: float = LARGEST) -> Rule:
    """Takes finite numbers above 0, up to `high`."""
    return Rule(f"a finite number above 0, at most {high:g}", number(SMALLEST, high).fits)


def integer(low: int, high: int = MANY) -> Rule:
    """Takes whole numbers from `low` to `high`."""
    fits = lambda value: _is_a(value, int) and low <= value <= high
    return Rule(f"a whole number of at least {low}, at most {high}", fits)


def _is_a(value, kind) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def tuple_of(kind: Rule, least: int = 0, most: int = 1000) -> Rule:
    """Takes tuples of `least` to `most` values of a kind."""
    fits = lambda value: (
        isinstance(value, tuple) and least <= len(value) <= most and all(map(kind.fits, value))
    )
    return Rule(f"a tuple of {least} to {most} values, each {kind.expected}", fits)


def choice(names: Sequence[str]) -> Rule:
    """Takes one of these."""
    fits = lambda value: isinstance(value, str) and value in names
    return Rule("one of " + ", ".join(names), fits)


def function(names: Sequence[str]) -> Rule:
    """Takes the name of one of ours, or a reference to one of the user's own."""
    fits = lambda value: choice(names).fits(value) or is_own(value)
    return Rule(f"{choice(names).expected}, or one of your own, as my_file.py:my_function", fits)


text = Rule("text", lambda value: isinstance(value, str))
# Whoever forgets the quotes of ('one', 'two') gives a single text with a comma.
label = Rule("a class's name", lambda value: isinstance(value, str) and value and "," not in value)
folder = Rule("the path of a folder, or '' for none", text.fits)
flag = Rule("True or False", lambda value: isinstance(value, bool))
mesh = Rule(
    "two whole numbers of at least 1 (folds, shards of a batch), as (4, 2), or ()",
    lambda value: tuple_of(integer(1)).fits(value) and len(value) in (0, 2),
)

_BY_TYPE = {int: integer(0), float: number(0), str: text, bool: flag}

MODEL_RULES: Mapping[str, Mapping[str, Rule]] = {
    "resnet": {
        "model.stage_sizes": tuple_of(integer(1, 1000), 1, 8),  # the width doubles with each
        "model.stage_strides": tuple_of(integer(1, 1000), 1, 8),
        "model.width": integer(1, 4096),
        "model.block": choice(resnet.BLOCKS),
        "model.order": choice(resnet.ORDERS),
        "model.shortcut": choice(resnet.SHORTCUTS),
        "model.se_ratio": integer(0),
        "model.max_receptive_field": integer(0),
        "model.head": choice(resnet.HEADS),
        "model.dropout_rate": number(0, 0.99),
        "model.drop_path_rate": number(0, 0.99),
        "model.pcen": flag,
        "model.remat": flag,
    },
    "baseline": {"model.dropout_rate": number(0, 0.99)},
}

_MEL: Mapping[str, Rule] = {
    # Ranges and choices of these are FrontendConfig's own.
    **{
        f"frontend.{field.name}": _BY_TYPE[field.type]
        for field in dataclasses.fields(FrontendConfig)
        if field.name not in ("name", "sr")
    },
    "frontend.n_fft": integer(0, 2**18),  # with n_mels: the matrix of the filters
    "frontend.hop_length": integer(0, 2**18),
    "frontend.n_mels": integer(0, 1024),
    "frontend.window": choice(tuple(WINDOWS)),
    "frontend.pad_mode": choice(PAD_MODES),
    "frontend.norm": choice(NORMS),
    "frontend.power": number(0, 16),  # of samples up to 1, in float32
    "frontend.log_floor": positive(),
    "frontend.pcen_gain": number(0, 1),
}

# All of these take the fields of the mel spectrogram, and of PCEN, whether they use them or not.
FRONTEND_RULES: Mapping[str, Mapping[str, Rule]] = dict.fromkeys(FRONTENDS, _MEL)

AUGMENT_RULES: Mapping[str, Mapping[str, Rule]] = {
    "standard": {
        "augment.time_scale": Rule(
            "0, or a number above 1, at most 4",
            lambda value: value == 0 or (number(1, 4).fits(value) and value > 1),
        ),
        "augment.between_class": flag,
        "augment.gain_db": number(0, 100),
        "augment.impulse_responses": folder,
        "augment.impulse_p": number(0, 1),
        "augment.noise_level": number(0, 100),
        "augment.freq_mixstyle_p": number(0, 1),
        "augment.freq_mixstyle_alpha": number(0.01, 1000),
        "augment.filter_db": number(0, 100),
        "augment.mixup_alpha": number(0, 1000),
        "augment.time_roll": number(0, 1),
        "augment.time_masks": integer(0, 1000),
        "augment.time_mask_frames": integer(0, 1_000_000),
        "augment.mel_masks": integer(0, 1000),
        "augment.mel_mask_bands": integer(0, 1_000_000),
    }
}

_OF_ALL: Mapping[str, Rule] = {
    "title": text,
    "seed": integer(0, 2**32 - 1),  # JAX drops what is above
    "data.root": folder,
    "data.cache_dir": folder,
    "data.workers": integer(0, 1024),  # threads
    "train.epochs": integer(1, 1_000_000),
    "train.batch_size": integer(1, 1_000_000),
    "train.precision": choice(known.PRECISIONS),
    "train.mesh": mesh,
    "train.save_every": integer(0),
    "train.keep_checkpoints": integer(1),
    "train.writers": tuple_of(choice(known.WRITERS)),
}

RULES: Mapping[str, Rule] = {
    **_OF_ALL,
    "data.leaderboard_root": folder,
    "data.evaluation_root": folder,
    "data.clip_seconds": positive(3600),  # each clip is in memory when it is decoded
    "data.n_frames": integer(0),
    "data.channels": integer(0),
    "data.fit_length": flag,
    "data.trim_silence": flag,
    "data.normalisation": choice(normalisation.KINDS),
    "data.pool": choice(decoding.KINDS),
    "data.placement": choice(known.PLACEMENTS),
    "frontend.name": function(tuple(FRONTENDS)),
    "frontend.sr": integer(1000, 768_000),
    "synthetic.root": folder,
    "synthetic.share": number(0, 0.99),
    "synthetic.per_class": integer(0),
    "synthetic.mask_above": number(0),
    "folds.kind": choice(folds.KINDS),
    "folds.n_folds": integer(0),
    "folds.seed": integer(0, 2**32 - 1),  # numpy's
    "folds.test_fold": integer(0),
    "folds.inner_fraction": number(0, 0.5),
    "model.name": function(models.NETWORKS),
    "optimizer.name": function(known.OPTIMIZERS),
    "optimizer.lr": positive(),
    "optimizer.schedule": function(known.SCHEDULES),
    "optimizer.warmup": number(0, 1),
    "optimizer.drops": Rule(
        "a tuple of shares of the run between 0 and 1, ascending",
        lambda value: tuple_of(number(0, 1)).fits(value) and list(value) == sorted(set(value)),
    ),
    "optimizer.drop_factor": positive(1),
    "optimizer.momentum": number(0, 0.9999),
    "optimizer.weight_decay": number(0),
    "optimizer.clip_norm": number(0),
    "train.init_from": folder,
    "train.crop_seconds": number(0, 3600),
    "train.loss": function(known.LOSSES),
    "train.class_weights": choice(known.CLASS_WEIGHTS),
    "train.sync_batch_norm": flag,
    "train.accumulate": integer(1, 1_000_000),
    "train.non_finite": choice(known.NON_FINITE),
    "train.label_smoothing": number(0, 0.99),
    "train.selection": choice(known.SELECTIONS),
    "train.select_after": integer(0),
    "train.average": choice(known.AVERAGES),
    "train.ema_decay": positive(0.999999),
    "train.average_after": number(0, 0.99),
    "train.validate_every": integer(1, 1_000_000),
    "train.steps_per_call": integer(0, 1_000_000),
    "augment.name": function(known.AUGMENTATIONS),
    "distillation.run": folder,
    "distillation.weight": number(0, 1),
    "distillation.temperature": number(0.1, 1000),
    "ensemble.hop_seconds": number(0, 3600),
    "ensemble.rule": choice(known.ENSEMBLES),
    "ensemble.decision": choice(known.DECISIONS),
}

GAN_RULES: Mapping[str, Rule] = {
    **_OF_ALL,
    "gan.classifier": folder,
    "gan.fold": integer(0),
    "gan.scenes": tuple_of(label),
    "gan.conditional": flag,
    "gan.unseen_fraction": number(0.01, 0.5),
    "gan.sr": integer(1000, 192_000),
    "gan.dim": integer(1, 1024),  # 16 times as many channels in the shortest map
    "gan.n_samples": integer(64, 2**24),
    "gan.n_latent": integer(1, 65_536),
    "gan.upsample": choice(wavegan.UPSAMPLINGS),
    "gan.phase_shuffle": integer(0, 1000),
    "gan.shuffle": choice(phase_shuffle.SHARINGS),
    "gan.loss": choice(known.GAN_LOSSES),
    "gan.lr": number(0),
    "train.steps_per_epoch": integer(1),
    "train.watch_clips": integer(2, 100_000),
    "synthesis.n_clips": integer(1, 10_000_000),
    "synthesis.classifier": folder,
    "synthesis.merge": choice(known.MERGES),
    "synthesis.rules": tuple_of(choice(known.SCREENS)),
    "synthesis.threshold": number(0, 1),
    "synthesis.margin_low": number(-LARGEST),
    "synthesis.margin_high": number(-LARGEST),
    "synthesis.most_tries": positive(1_000_000),
    "synthesis.high_band": choice(known.HIGH_BANDS),
}

# Fields that name a folder.
PATH_FIELDS = [
    field
    for field, rule in {**RULES, **GAN_RULES, **AUGMENT_RULES["standard"]}.items()
    if rule is folder
]


def known_fields() -> list[str]:
    """Lists the fields of a classifier's config, those of every built-in function included."""
    groups = (MODEL_RULES, FRONTEND_RULES, AUGMENT_RULES)
    of_functions = [field for group in groups for rules in group.values() for field in rules]
    return list(dict.fromkeys([*RULES, *of_functions]))
