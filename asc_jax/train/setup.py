"""What a run consists of, for training it and for scoring it alike: data, model and config."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import ml_collections
import numpy as np

from asc_jax.config.load import PER_MODEL_FIELDS, flatten
from asc_jax.data import batches
from asc_jax.data.folds import Split
from asc_jax.data.generated import Synthetic
from asc_jax.data.normalisation import band_moments, refuse_not_finite
from asc_jax.data.pool import Pool
from asc_jax.frontend import mel_edges
from asc_jax.parallel import agreement
from asc_jax.parallel.arrays import fetch, put, shapes_per_fold
from asc_jax.parallel.mapping import PER_FOLD, PER_STEP, compile_once
from asc_jax.parallel.mesh import make_mesh, refuse_idle_processes
from asc_jax.runs.inputs import Clips, decode
from asc_jax.runtime.backend import platform_of
from asc_jax.train import classifier
from asc_jax.train.classifier import Steps
from asc_jax.train.feed import Feed, make_feed
from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.losses import balanced_weights
from asc_jax.train.model import make_model
from asc_jax.train.recipe import Model
from asc_jax.train.state import ClassifierState, init_state, state_shapes
from asc_jax.train.trial import N_STEPS, try_functions
from asc_jax.train.warm_start import WarmStart, open_warm_start


@dataclasses.dataclass(frozen=True)
class Setup:
    """A run on its devices. What only some of its users need is made when it is asked for.

    Attributes:
      config: that is common to its runs.
      clips: that it learns from, decoded.
      model: its functions.
      splits: one per model; where several runs are one program, those of each in turn.
      runs: the name of each model's run; "" of one that is alone.
      seeds: of the models.
      hyperparameters: of the models.
      steps_per_epoch: the same for all folds.
      mesh: of the devices.
      like: shapes and places of the state.
    """

    config: ml_collections.FrozenConfigDict
    clips: Clips
    model: Model
    splits: tuple[Split, ...]
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    hyperparameters: tuple[Hyperparameters, ...]
    steps_per_epoch: int
    mesh: jax.sharding.Mesh
    like: ClassifierState

    @property
    def choosing(self) -> bool:
        """Whether each fold's best epoch by its inner clips is kept as well."""
        return self.config.train.selection == "inner"

    @property
    def steps_per_call(self) -> int:
        """Steps of one dispatch at most. Between two a signal is heard, and losses are seen."""
        train = self.config.train
        if train.steps_per_call:
            return train.steps_per_call
        # A step on a CPU outlasts its dispatch by far; and where the clips of a call are brought
        # to the devices for it, they take memory for each of its steps.
        on_cpu = platform_of(self.mesh.devices.flat[0]) == "cpu"
        if on_cpu or self.feed.placement != "device":
            return 1
        n_steps = self.steps_per_epoch * min(train.validate_every, train.epochs)
        n_steps = min(train.save_every or n_steps, n_steps)
        together = {} if jax.process_count() == 1 else {"most": agreement.TOGETHER}
        return batches.steps_per_call(n_steps, **together)

    @functools.cached_property
    def feed(self) -> Feed:
        """The development set's clips, and the synthetic ones behind them, for the steps."""
        return make_feed(self.clips.pools, self.mesh, self.config.data.placement)

    @functools.cached_property
    def steps(self) -> Steps:
        """The compiled steps of all folds."""
        skip = self.config.train.non_finite == "skip"
        return classifier.compile_steps(self.mesh, self.model, skip_non_finite=skip)

    def train_steps(
        self, state: ClassifierState, pool: Pool, clips: np.ndarray
    ) -> tuple[ClassifierState, dict[str, jax.Array]]:
        """Queues the steps of a call, clips (F, S, B, 2 or 1) on the host; see `Steps.train`."""
        return self.steps.train(state, pool, put(clips, self.mesh, PER_STEP))

    def learning_rates(self, step: int) -> list[float]:
        """What each model's update of a step is scaled by."""
        share = jax.device_get(compile_once(self.model.schedule)(jax.device_put(step)))
        return [float(share) * float(one.lr) for one in self.hyperparameters]

    @functools.cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The `band_moments` of the recorded clips."""
        return band_moments(self.clips.pools[0], self.model.features)

    @functools.cached_property
    def warm_start(self) -> WarmStart | None:
        """The models of another run to begin with, if the config names one."""
        folder = self.config.train.init_from
        return open_warm_start(folder, self.clips, self.splits) if folder else None

    def _class_weights(self) -> list[np.ndarray]:
        """(K,) of each model; see `balanced_weights`."""
        targets = np.concatenate([pool.targets for pool in self.clips.pools])
        about = targets, self.model.n_classes, self.config.synthetic.share
        return [balanced_weights(batches.class_counts(split, *about)) for split in self.splits]

    def refuse_unfit(self) -> None:
        """Checks what a state before the first step is made of, before it is.

        Raises:
          InputError: the log-mels of a clip are not finite, or the models to begin with cannot be.
        """
        if self.warm_start:
            self.warm_start.refuse_unlike(self.like)
        dataset = self.clips.dataset
        refuse_not_finite(self.moments, [dataset.audio_path(clip) for clip in dataset.clips])

    def init(self) -> ClassifierState:
        """The state before the first step, on the devices. A resumed run needs none."""
        self.refuse_unfit()
        above = self.config.synthetic.mask_above
        state = init_state(
            self.model,
            list(zip(self.splits, self.seeds, self.hyperparameters, strict=True)),
            tuple(map(agreement.share, self.moments)),
            self.mesh,
            masked=above > 0 and mel_edges(self.clips.decoding.frontend)[:-2] >= above,
            class_weights=self._class_weights() if self.model.balanced else (),
        )
        if not self.warm_start:
            return state
        state = self.warm_start.apply(fetch(state), self.model)
        return put(jax.tree.map(agreement.share, state), self.mesh, PER_FOLD)


def set_up(
    config,
    dataset,
    splits: tuple[Split, ...],
    test: np.ndarray,
    synthetic: Synthetic | None = None,
    *,
    mesh_shape: tuple[int, ...] = (),
    runs: Mapping[str, ml_collections.FrozenConfigDict] | None = None,
) -> Setup:
    """Decodes the data; compiles no step and places nothing yet.

    Args:
      config: checked, frozen; with `runs`, what is common to them.
      dataset: and what follows: from `inputs.read_data`.
      splits: one per fold.
      test: indices of the test clips.
      synthetic: clips to train on as well, from `inputs.read_synthetic`. Scoring needs none.
      mesh_shape: see `mesh.make_mesh`. Training names the config's `train.mesh`; scoring
        takes the devices that it finds.
      runs: name -> config of runs that train as one program; they differ from `config` in
        `PER_MODEL_FIELDS` and titles alone. One of `config` itself by default.

    Raises:
      InputError: bad audio files, all of them named, a network that the clips do not fit, or
        a mesh that cannot be.
    """
    train, runs = config.train, runs or {"": config}
    n_clips = train.batch_size // train.accumulate
    mesh = make_mesh(len(splits) * len(runs), n_clips, shape=mesh_shape)
    refuse_idle_processes(mesh, named=bool(mesh_shape))
    n_classes = len(dataset.scene_labels)
    try_functions(config, lambda: make_model(config, n_classes, N_STEPS))
    clips = decode(config, dataset, splits, test, synthetic)
    agreement.connect(mesh)
    names, per_model = zip(*[named for named in runs.items() for _ in splits], strict=True)
    n_steps = batches.steps_per_epoch(clips.splits, train.batch_size, config.synthetic.share)
    model = make_model(config, n_classes, train.epochs * n_steps)
    return Setup(
        config=config,
        clips=clips,
        model=model,
        splits=clips.splits * len(runs),
        runs=names,
        seeds=tuple(one.seed for one in per_model),
        hyperparameters=tuple(map(hyperparameters, per_model)),
        steps_per_epoch=n_steps,
        mesh=mesh,
        like=shapes_per_fold(state_shapes(model), len(names), mesh),
    )


def hyperparameters(config) -> Hyperparameters:
    """A model's own numbers: those of `PER_MODEL_FIELDS`, but for the seed."""
    fields = flatten(config)
    own = [field for field in PER_MODEL_FIELDS if field != "seed"]
    return Hyperparameters(**{field.partition(".")[2]: fields[field] for field in own})


def epoch_indices(setup: Setup, epochs: Sequence[int]) -> np.ndarray:
    """The clips of the batches of some epochs in a row; see `batches.epoch_indices`."""
    of_epoch = functools.partial(
        batches.epoch_indices,
        setup.splits,
        seed=setup.seeds,
        n_steps=setup.steps_per_epoch,
        batch_size=setup.config.train.batch_size,
        share=setup.config.synthetic.share,
        targets=setup.feed.targets if setup.model.partners else None,
    )
    return np.concatenate([of_epoch(epoch=epoch) for epoch in epochs], axis=1)
