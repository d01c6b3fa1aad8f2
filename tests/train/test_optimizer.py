"""The optimizer: steps beside PyTorch's, schedules at their ends, and what decays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from asc_jax.train.hyperparameters import Hyperparameters
from asc_jax.train.optimizer import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule

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


def optimizer_of(
    *, lr, weight_decay, schedule, n_steps, warmup=0.0, **options
) -> optax.GradientTransformation:
    own = Hyperparameters(lr=lr, weight_decay=weight_decay)
    return make_optimizer(own, share=make_schedule(schedule, n_steps, warmup), **options)


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


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_steps_equal_pytorchs(name):
    torch = pytest.importorskip("torch")
    momentum, weight_decay = 0.5, 0.1
    rng = np.random.default_rng(0)
    start, *gradients = rng.standard_normal((6, 3, 2)).astype(np.float32)
    kernel = torch.nn.Parameter(torch.tensor(start))
    optimizer = (
        torch.optim.AdamW([kernel], lr=0.01, weight_decay=weight_decay)
        if name == "adam"
        else torch.optim.SGD([kernel], lr=0.01, momentum=momentum, nesterov=True)
    )
    how = {"name": name, "momentum": momentum, "weight_decay": weight_decay}
    ours = optimizer_of(**DEFAULTS | how)
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


@pytest.mark.parametrize(
    ("name", "theirs", "weight_decay"),
    [
        ("adamw", optax.adamw, 0.1),
        ("nadam", optax.nadamw, 0.1),
        ("lamb", optax.lamb, 0.1),
        ("lion", optax.lion, 0.1),
        ("radam", optax.radam, 0.0),
        ("rmsprop", optax.rmsprop, 0.0),
    ],
)
def test_steps_equal_optax(name, theirs, weight_decay):
    """Gradients and kernels at random; where optax has no weight decay, without."""
    rng = np.random.default_rng(0)
    params, *gradients = ({"kernel": one} for one in rng.standard_normal((6, 3, 2), np.float32))
    expected = theirs(0.01, **({"weight_decay": weight_decay} if weight_decay else {}))
    state = expected.init(params)
    ours = updates_of(gradients, params, name=name, weight_decay=weight_decay)
    for gradient, update in zip(gradients, ours, strict=True):
        wanted, state = expected.update(gradient, state, params)
        np.testing.assert_allclose(update["kernel"], wanted["kernel"], rtol=1e-4, atol=1e-8)


def test_a_warm_up_rises_evenly_to_the_schedules_beginning():
    updates = updates_of(
        [filled(1.0)] * 21, schedule="linear", n_steps=20, warmup=0.25, name="lion"
    )
    sizes = [abs(float(update["norm"]["bias"][0])) / 0.01 for update in updates]
    expected = [*np.linspace(0, 1, 6)[:5], *np.linspace(1, 0, 16)]
    np.testing.assert_allclose(sizes, expected, atol=1e-6)


def test_a_function_is_given_the_rate_of_the_step_and_the_models_own_decay():
    def own(learning_rate, group):
        assert group["name"] == "mine.py:own"
        return optax.adamw(learning_rate, weight_decay=group["weight_decay"])

    share = lambda step, n_steps: 1 - step / n_steps
    ours = updates_of(
        [filled(1.0)] * 3, name=own, schedule=share, weight_decay=0.5, n_steps=4,
        fields={"name": "mine.py:own", "weight_decay": 9.0},
    )  # fmt: skip
    expected = optax.adamw(lambda step: 0.01 * (1 - step / 4), weight_decay=0.5)
    state = expected.init(PARAMS)
    for update in ours:
        wanted, state = expected.update(filled(1.0), state, PARAMS)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), update, wanted)


def test_weight_decay_hits_kernels_only():
    for name in OPTIMIZERS.keys() - {"lamb"}:  # whose step is as long as the kernel
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


@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_steps_fall_at_shares_of_the_whole_run_also_after_a_warm_up(warmup):
    share = make_schedule("steps", 20, warmup, drops=(0.5, 0.75), drop_factor=0.2)
    n_rising = round(20 * warmup)
    rising = [step / n_rising for step in range(n_rising)]
    expected = [*rising, *[1] * (10 - n_rising), *[0.2] * 5, *[0.04] * 5]
    np.testing.assert_allclose([share(step) for step in range(20)], expected, rtol=1e-6)


def test_drops_that_fall_together_in_a_short_run_are_both_taken():
    share = make_schedule("steps", 2, drops=(0.5, 0.6), drop_factor=0.1)
    np.testing.assert_allclose([share(step) for step in range(2)], [1, 0.01], rtol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 10])
def test_short_runs_have_finite_rates_above_zero(schedule, n_steps):
    values = rates(schedule, n_steps)[:-1]
    assert np.isfinite(values).all()
    assert np.all(values > 0)
    assert np.all(values <= 0.01 * (1 + 1e-6))
