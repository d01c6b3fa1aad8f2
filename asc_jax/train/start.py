"""By which functions a process trains or scores a run."""

import json

import jax
import numpy as np

from asc_jax.data import batches, normalisation, pool
from asc_jax.data import decoding as decode
from asc_jax.data.decoding import Decoding
from asc_jax.parallel import agreement
from asc_jax.parallel.mesh import one_device
from asc_jax.parallel.programs import name_program
from asc_jax.runs import provenance
from asc_jax.train import classifier
from asc_jax.train.classifier import Steps
from asc_jax.train.predict import score_fold
from asc_jax.train.recipe import Model
from asc_jax.train.setup import Setup
from asc_jax.train.state import name_init, state_shapes


def describe_start(setup: Setup, *, step: int = 0, training: bool = False) -> dict:
    """What this process computes a run by, but for its config and its data; see `provenance`.

    Args:
      setup: of the run.
      step: the step from which the run is resumed.
      training: whether it trains, or scores alone.

    Raises:
      InputError: several processes would not compute the same.
    """
    model, decoding = setup.model, setup.clips.decoding
    programs, answers, steps, shapes = _of_scoring(setup.config, model, decoding)
    if training:
        like, one_clip, batch = shapes["train"]
        if setup.config.distillation.run:
            soft = jax.ShapeDtypeStruct((1, model.n_classes), np.float32)
            one_clip = one_clip.replace(soft_targets=soft)
        programs["init"] = name_init(model)
        programs["train"] = name_program(steps.train, like, one_clip, batch)
        if model.averaging:
            *_, numbers = shapes["statistics"]
            of_averages = like, one_clip, batch, numbers
            programs["statistics"] = name_program(steps.statistics, *of_averages)
        answers["batches"] = batches.answer()
        answers["normalisation"] = normalisation.answer()
        if setup.choosing:
            programs["keep_best"] = name_program(steps.keep_best, *shapes["keep_best"])
            logits = np.random.default_rng(0).standard_normal((100, 5))
            answers["validation"] = score_fold(logits, np.arange(100) % 5)
    agreement.refuse_unlike(json.dumps(programs, sort_keys=True))
    files = decode.written_in()
    return provenance.describe(setup.mesh, programs, answers, step=step, files=files)


def describe_use(config, model: Model, decoding: Decoding) -> dict:
    """The same of a process that neither trains nor scores, but asks the run's models.

    Args:
      config: of the run.
      model: its functions.
      decoding: of its clips.
    """
    programs, answers, *_ = _of_scoring(config, model, decoding)
    return provenance.describe(one_device(), programs, answers, files=decode.written_in())


def _of_scoring(config, model: Model, decoding: Decoding) -> tuple[dict, dict, Steps, dict]:
    """What logits follow from: programs and answers; all steps, and shapes of their arguments."""
    steps = classifier.compile_steps(one_device(), model)  # of lost steps, as they are
    shapes = classifier.shapes_of_one(
        state_shapes(model),
        pool.shapes_of_one(decoding, lengths=model.crops is not None),
        batch_size=config.train.batch_size,
        partners=model.partners,
        crops=model.crops is not None,
    )
    programs = decode.computed_by(decoding)
    programs["evaluate"] = name_program(steps.evaluate, *shapes["evaluate"])
    return programs, {"decoding": decode.answer(decoding)}, steps, shapes
