"""What one field of a config demands of another."""

from collections.abc import Iterator, Mapping

from asc_jax.augment import WAVEFORM_FIELDS
from asc_jax.config.rules import MANY
from asc_jax.frontend import LOGARITHMIC, Frontend, FrontendConfig, mel_edges, n_empty_bands
from asc_jax.runtime.functions import is_own

# A field, and what is wrong with its value beside those of others.
Conflict = tuple[str, str]


def conflicts(flat: Mapping) -> Iterator[Conflict]:
    """Yields what a classifier's fields, flat, demand of each other where it is not met."""
    sizes = flat.get("model.stage_sizes", ())
    if len(sizes) != len(flat.get("model.stage_strides", ())):
        yield "model.stage_strides", f"must be as long as model.stage_sizes={sizes}"
    for field in ("synthetic.share", "synthetic.per_class"):
        if flat[field] and not flat["synthetic.root"]:
            yield (
                field,
                f"needs synthetic clips; set synthetic.root to their folder, or {field}=0",
            )
    if flat["distillation.run"] and flat["synthetic.root"]:
        yield (
            "distillation.run",
            "works only with recorded clips, because there are no teachers' logits of "
            "generated ones; set it or synthetic.root to ''",
        )
    if flat["train.selection"] == "inner" and not flat["folds.inner_fraction"]:
        yield (
            "train.selection",
            "needs clips to choose the epoch on; set folds.inner_fraction (0.3, say), or "
            "train.selection='last'",
        )
    if flat["train.batch_size"] % flat["train.accumulate"]:
        yield "train.accumulate", f"must divide train.batch_size={flat['train.batch_size']}"
    epochs = flat["train.epochs"]
    if flat["train.select_after"] >= epochs:
        yield "train.select_after", f"must be below train.epochs={epochs}"
    yield from _crop_conflicts(flat)
    yield from _schedule_conflicts(flat)
    if not is_own(flat["augment.name"]):
        yield from _augment_conflicts(flat)


def _crop_conflicts(flat: Mapping) -> Iterator[Conflict]:
    crop_seconds, clip_seconds = flat["train.crop_seconds"], flat["data.clip_seconds"]
    if crop_seconds > clip_seconds:
        yield "train.crop_seconds", f"must be at most data.clip_seconds={clip_seconds:g}"
    if crop_seconds and flat["data.pool"] != "waveform":
        yield "train.crop_seconds", "works on waveforms; set data.pool='waveform'"
    if flat["ensemble.hop_seconds"] and not crop_seconds:
        yield "ensemble.hop_seconds", "needs windows; set train.crop_seconds, or set this to 0"
    if 0 < flat["ensemble.hop_seconds"] * flat["frontend.sr"] < 1:
        yield (
            "ensemble.hop_seconds",
            "is shorter than a sample; set 0 for windows without overlap",
        )
    if flat["data.trim_silence"] and not flat["data.fit_length"]:
        yield "data.trim_silence", "gives clips of different lengths; set data.fit_length=True"


def _schedule_conflicts(flat: Mapping) -> Iterator[Conflict]:
    in_steps, drops = flat["optimizer.schedule"] == "steps", flat["optimizer.drops"]
    if in_steps and not drops:
        yield (
            "optimizer.schedule",
            "needs optimizer.drops; set shares of the run there, such as (0.5, 0.75)",
        )
    if drops and not in_steps:
        yield (
            "optimizer.drops",
            "is only for optimizer.schedule='steps'; set that, or set this to ()",
        )
    if drops and drops[0] < flat["optimizer.warmup"]:
        yield (
            "optimizer.drops",
            f"must come after optimizer.warmup={flat['optimizer.warmup']:g}",
        )


def _augment_conflicts(flat: Mapping) -> Iterator[Conflict]:
    for field in ("augment.mixup_alpha", "augment.freq_mixstyle_p"):
        if flat[field] and flat["train.batch_size"] < 2:
            yield (
                field,
                "mixes with the next example of the batch; set train.batch_size to 2 or more, "
                "or this to 0",
            )
    of_waveforms = [f"augment.{name}" for name in WAVEFORM_FIELDS if flat.get(f"augment.{name}")]
    if of_waveforms:
        factor = flat["augment.time_scale"]
        crop_seconds, clip_seconds = flat["train.crop_seconds"], flat["data.clip_seconds"]
        if flat["data.pool"] != "waveform":
            yield of_waveforms[0], "works on waveforms; set data.pool='waveform'"
        if factor and not 0 < crop_seconds * factor <= clip_seconds:
            yield (
                "augment.time_scale",
                "needs clips of this many times train.crop_seconds; set train.crop_seconds "
                "above 0, and data.clip_seconds to at least the product",
            )
    pair = ("augment.impulse_responses", "augment.impulse_p")
    for field, other in (pair, pair[::-1]):
        if flat[field] and not flat[other]:
            yield field, f"needs {other} as well"
    if flat["augment.filter_db"] and flat["frontend.name"] not in LOGARITHMIC:
        yield (
            "augment.filter_db",
            f"needs frontend.name to be one of {', '.join(LOGARITHMIC)}; set this to 0",
        )


def frontend_conflicts(flat: Mapping, frontend: Frontend) -> Iterator[Conflict]:
    """Yields why a config's frontend would give nothing: no frame, or bands without a frequency."""
    mask_above = flat["synthetic.mask_above"]
    if not isinstance(frontend, FrontendConfig):
        if mask_above > 0:
            yield (
                "synthetic.mask_above",
                "masks mel bands, but the frontend is a function of your own; set it to 0",
            )
        return
    unscaled = frontend.name == "mel" and flat["data.normalisation"] == "none"
    if flat.get("model.pcen") and not unscaled:
        yield (
            "model.pcen",
            "needs unscaled mel spectrograms; set frontend.name='mel' and "
            "data.normalisation='none'",
        )
    if frontend.name == "mel" and flat["data.pool"] != "waveform":
        yield (
            "frontend.name",
            "has too wide a range for a pool of 16 bits; set data.pool='waveform'",
        )
    for field in ("data.clip_seconds", "train.crop_seconds"):
        n_samples = round(flat[field] * frontend.sr)
        if flat[field] and (n_samples < 1 or frontend.n_frames(n_samples) < 1):
            yield field, "is shorter than one frame"
    if empty := n_empty_bands(frontend):
        yield (
            "frontend.n_mels",
            f"{empty} bands from fmin={frontend.fmin:g} to fmax={frontend.highest:g} Hz lie "
            f"between two bins of n_fft={frontend.n_fft} and would be empty; lower n_mels, raise "
            "n_fft, or widen that range",
        )
    if 0 < mask_above <= mel_edges(frontend)[0]:
        yield "synthetic.mask_above", "masks every band; raise it, or set it to 0"


def gan_conflicts(flat: Mapping) -> Iterator[Conflict]:
    """Yields the same of a GAN's fields."""
    low, high = flat["synthesis.margin_low"], flat["synthesis.margin_high"]
    if low >= high:
        yield "synthesis.margin_low", f"must be below synthesis.margin_high={high:g}"
    epochs, steps = flat["train.epochs"], flat["train.steps_per_epoch"]
    if epochs * steps > MANY:
        yield (
            "train.steps_per_epoch",
            f"makes more than {MANY} steps of train.epochs={epochs}; lower one of them",
        )
