"""The classifier's loss against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asc_jax.train.losses import cross_entropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (16, 5)).astype(np.float32)
ONE_HOT = np.eye(5, dtype=np.float32)[RNG.integers(0, 5, 16)]
MIXED = RNG.dirichlet(np.ones(5), 16).astype(np.float32)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_equals_pytorch_with_its_gradient(label_smoothing):
    torch = pytest.importorskip("torch")
    logits = torch.tensor(LOGITS, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        logits, torch.tensor(MIXED), reduction="none", label_smoothing=label_smoothing
    )
    expected.sum().backward()

    def total(logits):
        losses = cross_entropy(logits, MIXED, label_smoothing=label_smoothing)
        return losses.sum(), losses

    gradient, losses = jax.jit(jax.grad(total, has_aux=True))(LOGITS)
    np.testing.assert_allclose(losses, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, logits.grad.numpy(), atol=1e-6)


def test_large_logits_stay_finite():
    logits = np.array([[1e4, 0.0], [0.0, 1e4]], np.float32)
    targets = np.array([[1, 0], [1, 0]], np.float32)
    np.testing.assert_allclose(cross_entropy(logits, targets), [0, 1e4])


def test_bfloat16_logits_are_summed_in_float32():
    losses = cross_entropy(jnp.asarray(LOGITS, jnp.bfloat16), ONE_HOT)
    assert losses.dtype == jnp.float32
    rounded = np.asarray(jnp.asarray(LOGITS, jnp.bfloat16), np.float32)
    np.testing.assert_allclose(losses, cross_entropy(rounded, ONE_HOT), rtol=1e-6)
