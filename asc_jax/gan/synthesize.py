"""From trained generators to screened wav files, each of which can be made again bit for bit.

Clips come in batches: batch `b` of a GAN is a function of the run's seed, the GAN's number
and `b` alone. What is kept is written as it comes, wav file first, then its line in
`manifest.jsonl`; a stop at any moment loses at most a batch, and the same command goes on.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np
import tqdm

from asc_jax.config.load import check_gan_config, frontend_config, override, to_json
from asc_jax.data.audio import decode, mono, write_wav
from asc_jax.data.manifest import Manifest
from asc_jax.data.pool import answer, clip_reader
from asc_jax.data.splits import refuse_other_audio, refuse_other_splits, write_splits
from asc_jax.frontend import resample
from asc_jax.gan import screen
from asc_jax.gan.bandwidth import high_band_share, separability
from asc_jax.gan.corpora import refuse_other_corpora
from asc_jax.gan.embedder import Classifier, refuse_other_classifier
from asc_jax.gan.loop import describe_start, free_fields, name_programs, restore
from asc_jax.gan.monitor import number
from asc_jax.gan.screen import Screening, apportion
from asc_jax.gan.setup import GanSetup, one_by_one, open_screener, set_up_gan
from asc_jax.gan.source import SYNTHESIS
from asc_jax.gan.steps import BestGenerator
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD
from asc_jax.runs import provenance
from asc_jax.runs.checkpoint import Checkpoints, digest_arrays
from asc_jax.runs.folder import FREE_FIELDS, hold, read_config, refuse_foreign_folder
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole
from asc_jax.train.setup import refuse_untrained

BATCH = 16  # clips per call and GAN: part of what a file's batch and row mean

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


@dataclasses.dataclass(frozen=True)
class SceneYield:
    """How many clips one GAN gave of one scene.

    Attributes:
      name: "tram-fold1": the scene and the fold.
      wanted: clips.
      kept: clips, those of earlier calls included.
      tried: clips generated, as many as it takes to come to the last one kept; 0 where the GAN
        has no generator to keep.
    """

    name: str
    wanted: int
    kept: int
    tried: int


def synthesize(
    workdir: pathlib.Path,
    out: pathlib.Path,
    overrides: Sequence[str] = (),
    *,
    other_functions: bool = False,
) -> tuple[list[SceneYield], float]:
    """Writes screened clips of every GAN of a run, from its best generators.

    Args:
      workdir: the GAN's run folder.
      out: the folder of the clips; made if need be. Clips of an earlier call are completed,
        not made again.
      overrides: "--config.FIELD=VALUE" each, of the run's config.
      other_functions: go on though the functions that trained GANs and classifiers have changed.

    Returns:
      What each GAN gave of each scene, and `told_by_bandwidth`.

    Raises:
      InputError: no trained GAN, a folder that holds other clips, or a scene whose clips the
        screening refuses too often; what was kept before stays.
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
            raise InputError(f"{workdir}: no epoch is finished; run asc-jax gan to go on with it")
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
        yields = list(_fill(out, setup, screener, trained.best, config))
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
    passed = screen.passes(logits, labels, _screening(config))
    answers = {
        "resample": resample(draw((1, 500)).astype(np.float32), setup.sr, setup.clip_sr),
        "screening": np.stack([passed, *screen.scores(logits, labels).values()]),
        "decoding": answer("waveform", frontend_config(setup.classifier.config)),
    }
    return provenance.describe(setup.mesh, programs, answers)


def _screening(config) -> Screening:
    return Screening(
        config.synthesis.rules,
        config.synthesis.threshold,
        config.synthesis.margin_low,
        config.synthesis.margin_high,
    )


def _refuse_no_generator(workdir: pathlib.Path, yields: Sequence[SceneYield]) -> None:
    """Says of which scenes there is nothing to try: more tries would make no clip."""
    if none := [one.name for one in yields if one.wanted and not one.tried]:
        raise InputError(
            f"{workdir}: has no generator to keep of {', '.join(none)}, for no look has found one "
            "that had not collapsed; train again with another seed or gan.*, in another --workdir"
        )


def _refuse_shortfall(out: pathlib.Path, yields: Sequence[SceneYield], most_tries: float) -> None:
    """Says which scenes have too few clips, and what can be done about it."""
    short = [one for one in yields if one.kept < one.wanted]
    if short:
        listed = ", ".join(f"{y.name} {y.kept} of {y.wanted} in {y.tried} tries" for y in short)
        raise InputError(
            f"{out}: too few clips passed the screening ({listed}); add "
            f"--config.synthesis.most_tries=N to try more (now {most_tries:g} per clip), or "
            "--config.synthesis.n_clips=N for fewer clips; or train those GANs longer, or choose "
            f"other synthesis.rules, and {_OTHER_CLIPS}"
        )


def told_by_bandwidth(folder: pathlib.Path, setup: GanSetup, n_clips: int = 50) -> float:
    """How well the share of energy above the GAN's band alone tells its clips from real ones.

    Args:
      folder: of the generated clips; those of the run's own GANs count.
      setup: of the GAN's run.
      n_clips: of each kind, at most.

    Returns:
      The area under the ROC curve: 0.5 where that share tells nothing, 1 where it tells all.
    """
    if setup.clip_sr <= setup.sr:
        return 0.5  # neither kind has such a band
    train = np.unique(np.concatenate([corpus.train for corpus in setup.corpora]))
    dataset = setup.dataset
    real = [dataset.audio_path(dataset.clips[i]) for i in train]
    manifest = Manifest(folder)  # clips of other folds lie there too
    generated = [
        folder / line["path"]
        for corpus in setup.corpora
        for label in corpus.scene_labels
        for line in manifest.lines(label, corpus.fold)
    ]

    def shares(paths: list[pathlib.Path]) -> np.ndarray:
        places = np.linspace(0, len(paths) - 1, min(n_clips, len(paths))).round().astype(int)
        chosen = [paths[place] for place in places]
        return np.concatenate(
            [
                high_band_share(mono(samples)[None], sr, setup.sr / 2)
                for samples, sr in map(decode, chosen)
            ]
        )

    return separability(shares(real), shares(generated)) if generated else float("nan")


def _fill(
    out: pathlib.Path, setup: GanSetup, screener: Classifier, best: BestGenerator, config
) -> Iterator[SceneYield]:
    """Brings each scene of each GAN to its number of clips."""
    manifest = Manifest(out)
    screening = _screening(config)
    scenes = sorted({label for corpus in setup.corpora for label in corpus.scene_labels})
    quotas = dict(zip(scenes, apportion(config.synthesis.n_clips, len(scenes)), strict=True))
    with tqdm.tqdm(
        total=config.synthesis.n_clips * len(set(setup.folds)),
        unit="clip",
        dynamic_ncols=True,
        disable=None,  # where the standard error is a file
    ) as bar:
        for gan, corpus in enumerate(setup.corpora):
            source = Generated(setup, screener, best, gan, config)
            for label in corpus.scene_labels:
                if np.asarray(best.epoch)[gan]:
                    yield _fill_scene(source, label, quotas[label], screening, manifest, bar)
                else:  # it collapsed before any look that could be kept
                    yield SceneYield(f"{label}-fold{corpus.fold}", quotas[label], 0, 0)


def _fill_scene(
    source: "Generated", label: str, wanted: int, screening: Screening, manifest: Manifest, bar
) -> SceneYield:
    """Keeps clips, batch after batch, until there are enough or too many were refused."""
    fold = source.corpus.fold
    lines = manifest.lines(label, fold)
    manifest.refuse_other_maker(lines, source.maker)
    for line in lines:  # a wav file that has been deleted is made again
        if not (manifest.folder / line["path"]).exists():
            waveforms, _ = source.batch(label, line["batch"])
            write_wav(manifest.folder / line["path"], waveforms[line["row"]], source.setup.clip_sr)
    bar.update(min(len(lines), wanted))
    n_kept = len(lines)
    done = {(line["batch"], line["row"]) for line in lines}
    batch = max((line["batch"] for line in lines), default=0)
    n_most = math.ceil(source.most_tries * wanted / BATCH)
    labels = np.full(BATCH, source.setup.dataset.scene_labels.index(label))
    while n_kept < wanted and batch < n_most:
        waveforms, logits = source.batch(label, batch)
        scores = screen.scores(logits, labels)
        fresh = np.array([(batch, row) not in done for row in range(BATCH)])
        passed = np.asarray(screen.passes(logits, labels, screening)) & fresh
        for row in np.flatnonzero(passed)[: wanted - n_kept]:
            # Named by what it is, not by its place in the list: no other clip ever takes it.
            path = f"audio/{label}-fold{fold}-b{batch:05d}-r{row:02d}.wav"
            write_wav(manifest.folder / path, waveforms[row], source.setup.clip_sr)
            line = {
                "path": path,
                "scene_label": label,
                "fold": fold,
                "seed": source.seed,
                "batch": batch,
                "row": int(row),
                **source.maker,
                **{name: number(round(float(values[row]), 6)) for name, values in scores.items()},
                "reason": "+".join(screening.rules) or "all",
            }
            manifest.append(line)
            lines.append(line)
            n_kept += 1
            bar.update()
        batch += 1
    last = max(line["batch"] * BATCH + line["row"] for line in lines) + 1 if lines else 0
    tried = last if n_kept >= wanted else batch * BATCH
    return SceneYield(f"{label}-fold{fold}", wanted, n_kept, tried)


class Generated:
    """What one GAN generates, batch by batch.

    Attributes:
      setup: of one GAN at a time.
      corpus: of the GAN.
      seed: of the run.
      maker: what every clip of the GAN has in common, for the manifest: digests of the
        generator's parameters and of the screening classifier's, rate (Hz), length (samples).
      most_tries: clips per clip wanted.
    """

    def __init__(
        self, setup: GanSetup, screener: Classifier, best: BestGenerator, gan: int, config
    ):
        """Takes one GAN's best generator."""
        self.setup, self.corpus = setup, setup.corpora[gan]
        self.seed, self.most_tries = config.seed, config.synthesis.most_tries
        self._sr, self._high_band = config.gan.sr, config.synthesis.high_band
        one = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf)[gan : gan + 1], tree)
        params = one(best.params)
        self.maker = {
            "checkpoint": digest_arrays(params),
            "classifier": digest_arrays(screener.params(self.corpus.fold)),
            "sr": setup.clip_sr,
            "n_samples": round(setup.classifier.config.data.clip_seconds * setup.clip_sr),
        }
        place = functools.partial(put, mesh=setup.mesh, spec=PER_FOLD)
        self._params, self._source = place(params), place(one(setup.source))

    def batch(self, label: str, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The clips of a batch, (BATCH, T) at the classifier's rate, and their logits."""
        k = self.setup.dataset.scene_labels.index(label)
        key = jax.random.key(self.seed)
        for value in (SYNTHESIS, self.corpus.fold, k, number):
            key = jax.random.fold_in(key, value)
        labels = np.full((1, BATCH), k, np.int32)
        key_data = np.asarray(jax.random.key_data(key))[None]
        clips = self.setup.steps.generate(self._params, self._source, key_data, labels)[0]
        clips = np.asarray(resample(clips, self._sr, self.setup.clip_sr))
        if self._high_band == "splice":
            clips = clips + self._high_bands(label, number)
        clips = np.clip(clips, -1, 1)
        logits, _ = self.setup.recognise([self.corpus.fold], clips[None])
        return clips, logits[0]

    def _high_bands(self, label: str, number: int) -> np.ndarray:
        """What real training clips of the scene hold above the GAN's band, (BATCH, T)."""
        data, clip_sr = self.setup.classifier.config.data, self.setup.clip_sr
        dataset = self.setup.dataset
        own = [i for i in self.corpus.train if dataset.clips[i].scene_label == label]
        k = dataset.scene_labels.index(label)
        rng = np.random.default_rng([self.seed, self.corpus.fold, k, number])
        chosen = rng.choice(own, BATCH)
        read = clip_reader(
            kind="waveform",
            frontend=frontend_config(self.setup.classifier.config),
            n_frames=0,
            sr=clip_sr,
            channels=data.channels,
            n_samples=round(data.clip_seconds * clip_sr),
            fit_length=data.fit_length,
        )
        real = np.stack([read(dataset.audio_path(dataset.clips[i])) for i in chosen])
        low = resample(resample(real, clip_sr, self._sr), self._sr, clip_sr)
        return real - np.asarray(low)[:, : real.shape[1]]
