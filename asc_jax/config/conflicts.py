"""What one field of a config demands of another."""

from collections.abc import Iterator, Mapping

from asc_jax.augment import WAVEFORM_FIELDS
from asc_jax.config.rules import MANY
from asc_jax.frontend import LOGARITHMIC, FrontendConfig, make_frontend, mel_edges, n_empty_bands
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.functions import is_own


def conflicts(flat: Mapping) -> Iterator[InputError]:
    """Yields what a classifier's fields, flat, demand of each other where it is not met."""
    sizes, strides = flat.get("model.stage_sizes", ()), flat.get("model.stage_strides", ())
    if len(sizes) != len(strides):
        yield InputError(
            f"must be as long as model.stage_sizes={sizes}",
            field="model.stage_strides",
            value=strides,
        )
    for field in ("synthetic.share", "synthetic.per_class"):
        if flat[field] and not flat["synthetic.root"]:
            yield InputError(
                f"needs synthetic clips; set synthetic.root to their folder, or {field}=0",
                field=field,
                value=flat[field],
            )
    if flat["distillation.run"] and flat["synthetic.root"]:
        yield InputError(
            "works only with recorded clips, because there are no teachers' logits of "
            "generated ones; set it or synthetic.root to ''",
            field="distillation.run",
            value=flat["distillation.run"],
        )
    if flat["train.selection"] == "inner" and not flat["folds.inner_fraction"]:
        yield InputError(
            "needs clips to choose the epoch on; set folds.inner_fraction (0.3, say), or "
            "train.selection='last'",
            field="train.selection",
            value="inner",
        )
    if flat["train.batch_size"] % flat["train.accumulate"]:
        yield InputError(
            f"must divide train.batch_size={flat['train.batch_size']}",
            field="train.accumulate",
            value=flat["train.accumulate"],
        )
    epochs, select_after = flat["train.epochs"], flat["train.select_after"]
    if select_after >= epochs:
        yield InputError(
            f"must be below train.epochs={epochs}", field="train.select_after", value=select_after
        )
    yield from _crop_conflicts(flat)
    yield from _schedule_conflicts(flat)
    if not is_own(flat["augment.name"]):
        yield from _augment_conflicts(flat)


def _crop_conflicts(flat: Mapping) -> Iterator[InputError]:
    crop_seconds, clip_seconds = flat["train.crop_seconds"], flat["data.clip_seconds"]
    if crop_seconds > clip_seconds:
        yield InputError(
            f"must be at most data.clip_seconds={clip_seconds:g}",
            field="train.crop_seconds",
            value=crop_seconds,
        )
    if crop_seconds and flat["data.pool"] != "waveform":
        yield InputError(
            "works on waveforms; set data.pool='waveform'",
            field="train.crop_seconds",
            value=crop_seconds,
        )
    if flat["ensemble.hop_seconds"] and not crop_seconds:
        yield InputError(
            "needs windows; set train.crop_seconds, or set this to 0",
            field="ensemble.hop_seconds",
            value=flat["ensemble.hop_seconds"],
        )
    if 0 < flat["ensemble.hop_seconds"] * flat["frontend.sr"] < 1:
        yield InputError(
            "is shorter than a sample; set 0 for windows without overlap",
            field="ensemble.hop_seconds",
            value=flat["ensemble.hop_seconds"],
        )
    if flat["data.trim_silence"] and not flat["data.fit_length"]:
        yield InputError(
            "gives clips of different lengths; set data.fit_length=True", field="data.trim_silence"
        )


def _schedule_conflicts(flat: Mapping) -> Iterator[InputError]:
    schedule, drops = flat["optimizer.schedule"], flat["optimizer.drops"]
    if schedule == "steps" and not drops:
        yield InputError(
            "needs optimizer.drops; set shares of the run there, such as (0.5, 0.75)",
            field="optimizer.schedule",
            value=schedule,
        )
    if drops and schedule != "steps":
        yield InputError(
            "is only for optimizer.schedule='steps'; set that, or set this to ()",
            field="optimizer.drops",
            value=drops,
        )
    if drops and drops[0] < flat["optimizer.warmup"]:
        yield InputError(
            f"must come after optimizer.warmup={flat['optimizer.warmup']:g}",
            field="optimizer.drops",
            value=drops,
        )


def _augment_conflicts(flat: Mapping) -> Iterator[InputError]:
    for field in ("augment.mixup_alpha", "augment.freq_mixstyle_p"):
        if flat[field] and flat["train.batch_size"] < 2:
            yield InputError(
                "mixes with the next example of the batch; set train.batch_size to 2 or more, "
                "or this to 0",
                field=field,
                value=flat[field],
            )
    of_waveforms = [f"augment.{name}" for name in WAVEFORM_FIELDS if flat.get(f"augment.{name}")]
    if of_waveforms:
        factor = flat["augment.time_scale"]
        crop_seconds, clip_seconds = flat["train.crop_seconds"], flat["data.clip_seconds"]
        if flat["data.pool"] != "waveform":
            yield InputError("works on waveforms; set data.pool='waveform'", field=of_waveforms[0])
        if factor and not 0 < crop_seconds * factor <= clip_seconds:
            yield InputError(
                "needs clips of this many times train.crop_seconds; set train.crop_seconds "
                "above 0, and data.clip_seconds to at least the product",
                field="augment.time_scale",
                value=factor,
            )
    pair = ("augment.impulse_responses", "augment.impulse_p")
    for field, other in (pair, pair[::-1]):
        if flat[field] and not flat[other]:
            yield InputError(f"needs {other} as well", field=field, value=flat[field])
    if flat["augment.filter_db"] and flat["frontend.name"] not in LOGARITHMIC:
        yield InputError(
            f"needs frontend.name to be one of {', '.join(LOGARITHMIC)}; set this to 0",
            field="augment.filter_db",
            value=flat["augment.filter_db"],
        )


def frontend_conflicts(config: Mapping) -> Iterator[InputError]:
    """Yields why a config's frontend would give nothing: no frame, or bands without a frequency."""
    frontend = make_frontend(config["frontend"])
    seconds, mask_above = config["data"]["clip_seconds"], config["synthetic"]["mask_above"]
    if not isinstance(frontend, FrontendConfig):
        if mask_above > 0:
            yield InputError(
                "masks mel bands, but the frontend is a function of your own; set it to 0",
                field="synthetic.mask_above",
                value=mask_above,
            )
        return
    if config["model"].get("pcen") and (frontend.name, config["data"]["normalisation"]) != (
        "mel",
        "none",
    ):
        yield InputError(
            "needs unscaled mel spectrograms; set frontend.name='mel' and "
            "data.normalisation='none'",
            field="model.pcen",
            value=True,
        )
    if frontend.name == "mel" and config["data"]["pool"] != "waveform":
        yield InputError(
            "has too wide a range for a pool of 16 bits; set data.pool='waveform'",
            field="frontend.name",
            value="mel",
        )
    lengths = {"data.clip_seconds": seconds}
    if crop_seconds := config["train"]["crop_seconds"]:
        lengths["train.crop_seconds"] = crop_seconds
    for field, length in lengths.items():
        n_samples = round(length * frontend.sr)
        if n_samples < 1 or frontend.n_frames(n_samples) < 1:
            yield InputError("is shorter than one frame", field=field, value=length)
    if empty := n_empty_bands(frontend):
        yield InputError(
            f"{empty} bands from fmin={frontend.fmin:g} to fmax={frontend.highest:g} Hz lie "
            f"between two bins of n_fft={frontend.n_fft} and would be empty; lower n_mels, raise "
            "n_fft, or widen that range",
            field="frontend.n_mels",
            value=frontend.n_mels,
        )
    if 0 < mask_above <= mel_edges(frontend)[0]:
        yield InputError(
            "masks every band; raise it, or set it to 0",
            field="synthetic.mask_above",
            value=mask_above,
        )


def gan_conflicts(flat: Mapping) -> Iterator[InputError]:
    """Yields the same of a GAN's fields."""
    low, high = flat["synthesis.margin_low"], flat["synthesis.margin_high"]
    if low >= high:
        yield InputError(
            f"must be below synthesis.margin_high={high:g}",
            field="synthesis.margin_low",
            value=low,
        )
    epochs, steps = flat["train.epochs"], flat["train.steps_per_epoch"]
    if epochs * steps > MANY:
        yield InputError(
            f"makes more than {MANY} steps of train.epochs={epochs}; lower one of them",
            field="train.steps_per_epoch",
            value=steps,
        )
