"""What a field may name is what there is."""

import pytest

from asc_jax.config import choices
from asc_jax.gan import losses as gan_losses
from asc_jax.gan import screen
from asc_jax.runs import curves
from asc_jax.scoring import ensemble
from asc_jax.train import feed, losses, optimizer


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (choices.OPTIMIZERS, optimizer.OPTIMIZERS),
        (choices.SCHEDULES, optimizer.SCHEDULES),
        (choices.WRITERS, curves.LIBRARIES),
        (choices.LOSSES, losses.LOSSES),
        (choices.ENSEMBLES, ensemble.RULES),
        (choices.PLACEMENTS[1:], feed.PLACEMENTS),
        (choices.GAN_LOSSES, gan_losses.LOSSES),
        (choices.SCREENS, screen.RULES),
    ],
)
def test_every_name_has_its_function(names, table):
    assert tuple(table) == names
