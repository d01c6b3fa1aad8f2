"""From trained generators to screened wav files, each of which can be made again bit for bit.

Clips come in batches: batch `b` of a GAN is a function of the run's seed, the GAN's number
and `b` alone. What is kept is written as it comes, wav file first, then its line in
`manifest.jsonl`; a stop at any moment loses at most a batch, and the same command resumes.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from asc_jax.config.load import check_gan_config, override, to_json
from asc_jax.data.decoding import answer
from asc_jax.data.splits import refuse_other_audio, refuse_other_splits, write_splits
from asc_jax.gan import screen
from asc_jax.gan.bandwidth import told_by_bandwidth
from asc_jax.gan.clips import waveforms_of
from asc_jax.gan.collect import SceneYield, fill
from asc_jax.gan.corpora import refuse_other_corpora
from asc_jax.gan.embedder import Classifier, refuse_other_classifier
from asc_jax.gan.loop import describe_start, free_fields, name_programs, restore
from asc_jax.gan.setup import GanSetup, one_by_one, open_screener, set_up_gan
from asc_jax.ops.resample import resample
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Checkpoints
from asc_jax.runs.folder import (
    FREE_FIELDS,
    hold,
    read_config,
    refuse_foreign_folder,
    refuse_untrained,
)
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

_OTHER_CLIPS = "use another --out, or delete that one to have all its clips made anew"

# Fields that another call for the same folder may change: more clips, more tries, and clips
# of another run's GANs, of other folds or scenes. A classifier is known by its digest.
_FREE_FIELDS = FREE_FIELDS | {
    "synthesis.n_clips",
    "synthesis.most_tries",
    "synthesis.classifier",
    "gan.fold",
    "gan.scenes",
    "train.epochs",
}


def synthesize(
    workdir: pathlib.Path,
    out: pathlib.Path,
    overrides: Sequence[str] = (),
    *,
    other_functions: bool = False,
) -> tuple[list[SceneYield], float]:
    """Writes screened clips from the best generator of every GAN of a run.

    Args:
      workdir: the GAN's run folder.
      out: the folder of the clips; created if it does not exist. Clips of an earlier call are
        kept, and missing ones added.
      overrides: "--config.FIELD=VALUE" each, for the run's config.
      other_functions: continue even if the functions that trained the models have changed.

    Returns:
      The number of clips by GAN and scene, and `told_by_bandwidth`.

    Raises:
      InputError: there is no trained GAN, the folder has other clips, or the screening rejects
        the clips of a scene too often; clips that were kept stay.
    """
    config = read_config(workdir, check=check_gan_config)
    config = override(
        config, overrides, str(workdir / "config.json"), check=check_gan_config, typed=True
    )
    refuse_foreign_folder(workdir, config, check=check_gan_config, free=free_fields(config))
    refuse_untrained(workdir, "gan")
    with hold(out):
        refuse_foreign_folder(
            out, config, check=check_gan_config, free=_FREE_FIELDS, mend=_OTHER_CLIPS
        )
        setup = set_up_gan(config, other_functions=other_functions)
        refuse_other_corpora(workdir / "corpora.json", setup.dataset, setup.corpora)
        refuse_other_classifier(workdir / "classifier.json", setup.classifier)
        with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
            trained, progress = restore(setup, checkpoints)
        if not progress.epochs:
            raise InputError("no epoch is finished; run asc-jax gan to resume it", path=workdir)
        start = describe_start(setup)
        provenance.refuse_another(workdir, start, step=progress.step, allowed=other_functions)
        screener = open_screener(setup, config, other_functions=other_functions)
        # By which a training run sees that no clip of its held-out parts has come in.
        folds = (setup.dataset, setup.classifier.splits, setup.classifier.test)
        digests = setup.classifier.digests
        refuse_other_splits(out / "splits.json", *folds)
        refuse_other_audio(out / "splits.json", setup.dataset, digests)
        setup = one_by_one(setup, config, screener)
        start = _describe_synthesis(setup, screener, config)
        provenance.refuse_another(
            out, start, step=1, allowed=other_functions, mend="use another --out"
        )
        write_whole(out / "config.json", to_json(config))
        write_splits(out / "splits.json", *folds, digests)
        provenance.add_start(out, start)
        yields = list(fill(out, setup, screener, trained.best, config))
        separable = told_by_bandwidth(out, setup)
    _refuse_no_generator(workdir, yields)
    _refuse_shortfall(out, yields, config.synthesis.most_tries)
    return yields, separable


def _describe_synthesis(setup: GanSetup, screener: Classifier, config) -> dict:
    """What the clips of a folder are made and chosen by; see `asc_jax.runs.provenance`."""
    programs = name_programs(setup, screener, sr=setup.clip_sr, how=config.synthesis.merge)
    # Clips of several GANs and classifiers may lie in one folder.
    programs[f"recognise, {screener.describe()['parameters']}"] = programs.pop("recognise")
    draw = np.random.default_rng(0).standard_normal
    logits, labels = draw((20, 4)), np.arange(20) % 4
    passed = screen.passes(logits, labels, config.synthesis)
    answers = {
        "resample": resample(draw((1, 500)).astype(np.float32), setup.sr, setup.clip_sr),
        "screening": np.stack([passed, *screen.scores(logits, labels).values()]),
        "decoding": answer(waveforms_of(setup)),
    }
    return provenance.describe(setup.mesh, programs, answers)


def _refuse_no_generator(workdir: pathlib.Path, yields: Sequence[SceneYield]) -> None:
    """Says of which scenes there is nothing to try: more tries would make no clip."""
    if none := [one.name for one in yields if one.wanted and not one.tried]:
        raise InputError(
            f"has no generator to keep of {', '.join(none)}, because every evaluation found "
            "a collapsed one; train again with another seed or gan.*, in another --workdir",
            path=workdir,
        )


def _refuse_shortfall(out: pathlib.Path, yields: Sequence[SceneYield], most_tries: float) -> None:
    """Says which scenes have too few clips, and what can be done about it."""
    short = [one for one in yields if one.kept < one.wanted]
    if short:
        listed = ", ".join(f"{y.name} {y.kept} of {y.wanted} in {y.tried} tries" for y in short)
        raise InputError(
            f"too few clips passed the screening ({listed}); add "
            f"--config.synthesis.most_tries=N to try more (now {most_tries:g} per clip), or "
            "--config.synthesis.n_clips=N for fewer clips; or train those GANs longer, or "
            f"choose other synthesis.rules, and {_OTHER_CLIPS}",
            path=out,
        )
