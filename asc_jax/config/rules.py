"""Which values the fields of a config may have, and the rules to say so with."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from asc_jax import models
from asc_jax.config import choices as known
from asc_jax.data import folds, normalisation, pool
from asc_jax.frontend import NORMS, PAD_MODES, WINDOWS, FrontendConfig
from asc_jax.models import phase_shuffle, resnet, wavegan

# Whole numbers without a limit of their own: devices count with 32 bits.
MANY = 2**31 - 1

# What is computed with is float32: beyond these a number is infinite there, or zero.
LARGEST, SMALLEST = 1e38, 1e-37

# A rule returns what a value must be, or None if it is.
Rule = Callable[[object], str | None]


def number(low: float, high: float = LARGEST) -> Rule:
    """A finite number from `low` to `high`."""

    def rule(value):
        # NaN is in no range, and a whole number of any size compares.
        if _is_a(value, (int, float)) and low <= value <= high:
            return None
        return f"a number of at least {low:g}, at most {high:g}"

    return rule


def positive(high: float = LARGEST) -> Rule:
    """A finite number above 0, up to `high`."""

    def rule(value):
        fits = number(SMALLEST, high)(value) is None
        return None if fits else f"a finite number above 0, at most {high:g}"

    return rule


def integer(low: int, high: int = MANY) -> Rule:
    """A whole number from `low` to `high`."""

    def rule(value):
        fits = _is_a(value, int) and low <= value <= high
        return None if fits else f"a whole number of at least {low}, at most {high}"

    return rule


def _is_a(value, kind) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def integers(high: int = MANY, most: int = 16) -> Rule:
    """A tuple of `most` whole numbers or fewer, each from 1 to `high`."""

    def rule(value):
        fits = isinstance(value, tuple) and 0 < len(value) <= most
        if fits and all(integer(1, high)(v) is None for v in value):
            return None
        return f"a tuple of whole numbers of at least 1, at most {high}, and of {most} at most"

    return rule


def mesh(value) -> str | None:
    """Devices along folds and along a batch, or nothing."""
    if isinstance(value, tuple) and (not value or (len(value) == 2 and not integers()(value))):
        return None
    return "two whole numbers of at least 1 (folds, shards of a batch), as (4, 2), or ()"


def texts(value) -> str | None:
    """A tuple of texts, maybe empty."""
    fits = isinstance(value, tuple) and all(isinstance(v, str) for v in value)
    shown = f"({value!r},)" if isinstance(value, str) and value else "('one', 'two')"
    return None if fits else f"a tuple of texts, as {shown}, or () for none"


def some_of(names: Sequence[str]) -> Rule:
    """A tuple of some of these, maybe empty."""
    return lambda value: (
        None
        if texts(value) is None and set(value) <= set(names)
        else "a tuple of some of " + ", ".join(names)
    )


def choice(names: Sequence[str]) -> Rule:
    """One of these."""
    fits = lambda value: isinstance(value, str) and value in names
    return lambda value: None if fits(value) else "one of " + ", ".join(names)


def text(value) -> str | None:
    """Any text."""
    return None if isinstance(value, str) else "text"


def flag(value) -> str | None:
    """True or False."""
    return None if isinstance(value, bool) else "True or False"


MODEL_RULES: Mapping[str, Mapping[str, Rule]] = {
    "resnet": {
        "stage_sizes": integers(1000, most=8),  # the width doubles with each
        "stage_strides": integers(1000, most=8),
        "width": integer(1, 4096),
        "block": choice(resnet.BLOCKS),
        "order": choice(resnet.ORDERS),
        "shortcut": choice(resnet.SHORTCUTS),
        "se_ratio": integer(0),
        "max_receptive_field": integer(0),
        "head": choice(resnet.HEADS),
        "dropout_rate": number(0, 0.99),
    },
    "baseline": {"dropout_rate": number(0, 0.99)},
}

RULES: Mapping[str, Rule] = {
    "title": text,
    "seed": integer(0, 2**32 - 1),  # JAX drops what is above
    "data.root": text,
    "data.leaderboard_root": text,
    "data.evaluation_root": text,
    "data.clip_seconds": positive(3600),  # each clip is in memory when it is decoded
    "data.n_frames": integer(0),
    "data.channels": integer(0),
    "data.fit_length": flag,
    "data.normalisation": choice(normalisation.KINDS),
    "data.pool": choice(pool.KINDS),
    "data.placement": choice(known.PLACEMENTS),
    "data.cache_dir": text,
    "data.workers": integer(0, 1024),  # threads
    # Ranges and choices of these are FrontendConfig's own.
    **{
        f"frontend.{field.name}": {int: integer(0), float: number(0), str: text, bool: flag}[
            field.type
        ]
        for field in dataclasses.fields(FrontendConfig)
    },
    "frontend.sr": integer(1000, 768_000),
    "frontend.n_fft": integer(0, 2**18),  # with n_mels: the matrix of the filters
    "frontend.hop_length": integer(0, 2**18),
    "frontend.n_mels": integer(0, 1024),
    "frontend.window": choice(tuple(WINDOWS)),
    "frontend.pad_mode": choice(PAD_MODES),
    "frontend.norm": choice(NORMS),
    "frontend.power": number(0, 16),  # of samples up to 1, in float32
    "frontend.log_floor": positive(),
    "synthetic.root": text,
    "synthetic.share": number(0, 0.99),
    "synthetic.per_class": integer(0),
    "synthetic.mask_above": number(0),
    "folds.kind": choice(folds.KINDS),
    "folds.n_folds": integer(1),
    "folds.seed": integer(0, 2**32 - 1),  # numpy's
    "folds.test_fold": integer(0),
    "folds.inner_fraction": number(0, 0.5),
    "model.name": choice(models.NETWORKS),
    "optimizer.name": choice(known.OPTIMIZERS),
    "optimizer.lr": positive(),
    "optimizer.schedule": choice(known.SCHEDULES),
    "optimizer.weight_decay": number(0),
    "optimizer.clip_norm": number(0),
    "train.epochs": integer(1, 1_000_000),
    "train.batch_size": integer(1, 1_000_000),
    "train.precision": choice(known.PRECISIONS),
    "train.mesh": mesh,
    "train.sync_batch_norm": flag,
    "train.non_finite": choice(known.NON_FINITE),
    "train.label_smoothing": number(0, 0.99),
    "train.selection": choice(known.SELECTIONS),
    "train.select_after": integer(0),
    "train.steps_per_call": integer(1, 1_000_000),
    "train.save_every": integer(0),
    "train.keep_checkpoints": integer(1),
    "augment.mixup_alpha": number(0, 1000),
    "augment.time_roll": number(0, 1),
    "augment.time_masks": integer(0, 1000),
    "augment.time_mask_frames": integer(0, 1_000_000),
    "augment.mel_masks": integer(0, 1000),
    "augment.mel_mask_bands": integer(0, 1_000_000),
    "ensemble.rule": choice(known.ENSEMBLES),
    "ensemble.decision": choice(known.DECISIONS),
}

GAN_RULES: Mapping[str, Rule] = {
    "title": text,
    "seed": integer(0, 2**32 - 1),
    "data.root": text,
    "data.cache_dir": text,
    "data.workers": integer(0, 1024),  # threads
    "gan.classifier": text,
    "gan.fold": integer(0),
    "gan.scenes": texts,
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
    "train.epochs": integer(1, 1_000_000),
    "train.steps_per_epoch": integer(1),
    "train.batch_size": integer(1, 1_000_000),
    "train.precision": choice(known.PRECISIONS),
    "train.mesh": mesh,
    "train.watch_clips": integer(2, 100_000),
    "train.save_every": integer(0),
    "train.keep_checkpoints": integer(1),
    "synthesis.n_clips": integer(1, 10_000_000),
    "synthesis.classifier": text,
    "synthesis.merge": choice(known.MERGES),
    "synthesis.rules": some_of(known.SCREENS),
    "synthesis.threshold": number(0, 1),
    "synthesis.margin_low": number(-LARGEST),
    "synthesis.margin_high": number(-LARGEST),
    "synthesis.most_tries": positive(1_000_000),
    "synthesis.high_band": choice(known.HIGH_BANDS),
}
