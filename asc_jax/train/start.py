"""By which functions a process trains or scores a run."""

import json

import numpy as np

from asc_jax.data import batches, normalisation, pool
from asc_jax.parallel import agreement
from asc_jax.parallel.mesh import one_device
from asc_jax.parallel.programs import name_program
from asc_jax.runs import provenance
from asc_jax.train import classifier
from asc_jax.train.predict import score_fold
from asc_jax.train.setup import Setup


def describe_start(setup: Setup, *, step: int = 0, training: bool = False) -> dict:
    """What this process computes a run by, but for its config and its data; see `provenance`.

    Args:
      setup: of the run.
      step: that it goes on from.
      training: whether it trains, or scores alone.

    Raises:
      InputError: several processes would not compute the same.
    """
    config, model, decoding = setup.config, setup.model, setup.clips.decoding
    steps = classifier.compile_steps(one_device(), model)  # of lost steps, as they are
    shapes = classifier.shapes_of_one(
        classifier.state_shapes(model),
        setup.clips.one,
        batch_size=config.train.batch_size,
        partners=model.partners,
    )
    programs = pool.computed_by(decoding)
    answers = {"decoding": pool.answer(decoding)}
    programs["evaluate"] = name_program(steps.evaluate, *shapes["evaluate"])
    if training:
        programs["init"] = classifier.name_init(model)
        programs["train"] = name_program(steps.train, *shapes["train"])
        answers["batches"] = batches.answer()
        answers["normalisation"] = normalisation.answer()
        if setup.choosing:
            programs["keep_best"] = name_program(steps.keep_best, *shapes["keep_best"])
            logits = np.random.default_rng(0).standard_normal((100, 5))
            answers["validation"] = score_fold(logits, np.arange(100) % 5)
    agreement.refuse_unlike(json.dumps(programs, sort_keys=True))
    files = pool.written_in()
    return provenance.describe(setup.mesh, programs, answers, step=step, files=files)
