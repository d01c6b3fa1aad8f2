"""The optimizer: steps beside PyTorch's, schedules at their ends, and what decays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.optimizer import OPTIMIZERS, SCHEDULES, make_optimizer

PARAMS = {
    "conv": {"kernel": np.full((2, 2), 2.0, np.float32), "bias": np.full(2, 2.0, np.float32)},
    "norm": {"scale": np.full(2, 2.0, np.float32), "bias": np.full(2, 2.0, np.float32)},
}
DEFAULTS = {
    "name": "adam",
    "lr": 0.01,
    "schedule": "constant",
    "n_steps": 100,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
}


def optimizer_of(*, lr: float, weight_decay: float, **options) -> optax.GradientTransformation:
    return make_optimizer(Hyperparameters(lr=lr, weight_decay=weight_decay), **options)


def updates_of(gradients: list, params=PARAMS, **options) -> list:
    """The update of every step, with the parameters held."""
    optimizer = optimizer_of(**{**DEFAULTS, **options})
    state, updates = optimizer.init(params), []
    step = jax.jit(optimizer.update)
    for gradient in gradients:
        update, state = step(gradient, state, params)
        updates.append(update)
    return updates


def filled(value: float):
    return jax.tree.map(lambda leaf: np.full_like(leaf, value), PARAMS)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_steps_equal_pytorchs(name, weight_decay):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start, *gradients = rng.standard_normal((6, 3, 2)).astype(np.float32)
    kernel = torch.nn.Parameter(torch.tensor(start))
    optimizer = (
        torch.optim.AdamW([kernel], lr=0.01, weight_decay=weight_decay)
        if name == "adam"
        else torch.optim.SGD([kernel], lr=0.01, momentum=0.9, nesterov=True)
    )
    ours = optimizer_of(**{**DEFAULTS, "name": name, "weight_decay": weight_decay})
    params = {"kernel": jnp.asarray(start)}
    state = ours.init(params)
    update = jax.jit(ours.update)
    for gradient in gradients:
        updates, state = update({"kernel": gradient}, state, params)
        params = optax.apply_updates(params, updates)
        if name == "sgd":  # PyTorch's SGD has no decoupled decay
            with torch.no_grad():
                kernel.mul_(1 - 0.01 * weight_decay)
        kernel.grad = torch.tensor(gradient)
        optimizer.step()
        np.testing.assert_allclose(params["kernel"], kernel.detach().numpy(), atol=1e-6)


def test_weight_decay_hits_kernels_only():
    for name in OPTIMIZERS:
        (update,) = updates_of([filled(0.0)], name=name, weight_decay=0.5)
        np.testing.assert_allclose(update["conv"]["kernel"], -0.01 * 0.5 * 2.0, rtol=1e-6)
        for layer, leaf in (("conv", "bias"), ("norm", "scale"), ("norm", "bias")):
            np.testing.assert_array_equal(update[layer][leaf], 0)


def test_gradients_are_clipped_by_their_global_norm():
    n = sum(leaf.size for leaf in jax.tree.leaves(PARAMS))
    long, short = filled(3.0), filled(0.1)
    for gradient, length in ((long, 1.0), (short, 0.1 * np.sqrt(n))):
        (update,) = updates_of([gradient], name="sgd", lr=1.0, clip_norm=1.0)
        assert optax.tree.norm(update) == pytest.approx(1.9 * length, rel=1e-5)  # Nesterov's 1.9
    (free,) = updates_of([long], name="sgd", lr=1.0)
    assert optax.tree.norm(free) == pytest.approx(1.9 * 3 * np.sqrt(n), rel=1e-5)


def test_weights_decay_after_clipping():
    """A clipped gradient does not clip the decay."""
    (update,) = updates_of([filled(0.0)], name="sgd", clip_norm=1e-6, weight_decay=0.5)
    np.testing.assert_allclose(update["conv"]["kernel"], -0.01, rtol=1e-6)


def rates(schedule: str, n_steps: int, lr: float = 0.01) -> np.ndarray:
    share = SCHEDULES[schedule](n_steps)
    return np.array([lr * float(share(step)) for step in range(n_steps + 1)])


def test_cosine_schedule_falls_from_its_peak_to_zero():
    values = rates("cosine", 50)
    assert values[0] == pytest.approx(0.01)
    assert values[25] == pytest.approx(0.005)
    assert values[50] == pytest.approx(0, abs=1e-9)
    assert np.all(np.diff(values) < 0)


def test_one_cycle_schedule_starts_low_peaks_at_30_percent_and_ends_lower():
    values = rates("one_cycle", 50)
    assert values[0] == pytest.approx(0.01 / 25)
    assert values[15] == pytest.approx(0.01)
    assert np.argmax(values) == 15
    assert values[50] == pytest.approx(0.01 / 25 / 1e4, rel=1e-3)
    assert np.all(np.diff(values[:16]) > 0)
    assert np.all(np.diff(values[15:]) < 0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 10])
def test_short_runs_have_finite_rates_above_zero(schedule, n_steps):
    values = rates(schedule, n_steps)[:-1]
    assert np.isfinite(values).all()
    assert np.all(values > 0)
    assert np.all(values <= 0.01 * (1 + 1e-6))


def test_the_schedule_reaches_the_update():
    updates = updates_of([filled(1.0)] * 21, schedule="cosine", n_steps=20)
    sizes = [abs(float(update["norm"]["bias"][0])) for update in updates]
    np.testing.assert_allclose(sizes, rates("cosine", 20), atol=1e-6)
