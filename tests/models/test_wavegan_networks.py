"""The WaveGAN's networks: published sizes, PyTorch's values from the same weights, classes."""

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

from asc_jax.models.wavegan import Discriminator, Generator, map_sizes

SMALL = {"dim": 4, "n_samples": 512}  # maps of 32 and 128 frames
N_LATENT = 6
GENERATOR = Generator(**SMALL, n_latent=N_LATENT)
DISCRIMINATOR = Discriminator(**SMALL, phase_shuffle=0)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def params_of(network, *, gan: int = 0, seed: int = 0) -> dict:
    """Initial values, but biases that are not 0."""
    key = jax.random.fold_in(jax.random.key(seed), gan)
    zeros = [jnp.zeros(one.shape, one.dtype) for one in network.input_shapes()]
    params = jax.jit(network.init)(key, *zeros)["params"]
    return jax.tree.map(lambda leaf: leaf + 0.1 * normal(gan, *leaf.shape), params)


def apply(network, params, *inputs, **options) -> jax.Array:
    return jax.jit(lambda params, *inputs: network.apply({"params": params}, *inputs, **options))(
        params, *inputs
    )


# Sizes.


def n_params(network) -> int:
    shapes = jax.eval_shape(network.init, jax.random.key(0), *network.input_shapes())
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (Generator(), 23_996_929),
        (Discriminator(), 17_444_353),
        (Generator(n_samples=16384, n_latent=100), 19_065_345),
        (Discriminator(n_samples=16384), 17_427_969),
        (Generator(upsample="nearest"), 23_996_929),
    ],
)
def test_published_numbers_of_parameters(network, parameters):
    assert n_params(network) == parameters


@pytest.mark.parametrize(
    ("n_samples", "dtype", "n_classes"),
    [(64, jnp.bfloat16, 0), (16384, jnp.float32, 10), (65536, jnp.bfloat16, 10)],
)
def test_output_shapes(n_samples, dtype, n_classes):
    sizes = {"n_samples": n_samples, "n_classes": n_classes, "dtype": dtype}
    label = (jax.ShapeDtypeStruct((3,), jnp.int32),) if n_classes else ()

    def outputs(key, z, *label):
        waveform, _ = Generator(**sizes).init_with_output(key, z, *label)
        score, _ = Discriminator(**sizes).init_with_output(key, waveform, *label)
        return waveform, score

    z = jax.ShapeDtypeStruct((3, 200), jnp.float32)
    waveform, score = jax.eval_shape(outputs, jax.random.key(0), z, *label)
    assert (waveform.shape, waveform.dtype) == ((3, n_samples, 1), jnp.float32)
    assert (score.shape, score.dtype) == ((3, 1), jnp.float32)


def test_map_sizes_follow_the_report():
    assert map_sizes(32768, 64) == [(32, 1024), (128, 512), (512, 256), (2048, 128), (8192, 64)]
    assert map_sizes(16384, 64)[0] == (16, 1024)
    assert map_sizes(65536, 64)[0] == (16, 2048)


@pytest.mark.parametrize(
    ("network", "field"),
    [
        (Generator(n_samples=20000), "n_samples"),
        (Generator(n_samples=32), "n_samples"),
        (Discriminator(n_samples=0), "n_samples"),
        (Discriminator(dim=0), "dim"),
        (Generator(upsample="linear"), "upsample"),
        (Discriminator(shuffle="none"), "shuffle"),
        (Discriminator(phase_shuffle=-2), "phase_shuffle"),
    ],
)
def test_bad_values_are_refused(network, field):
    with refused(field=f"gan.{field}"):
        n_params(network)


# PyTorch's values. A transposed convolution there has its kernel the other way round and
# wants the first 10 and the last 11 samples cut off: what "SAME" padding leaves.


def torch_transposed(torch, x, layer):
    kernel = torch.tensor(np.array(layer["kernel"][::-1].transpose(1, 2, 0)))
    bias = torch.tensor(layer["bias"])
    return torch.nn.functional.conv_transpose1d(x, kernel, bias, stride=4)[..., 10:-11]


def torch_nearest(torch, x, layer):
    x = torch.nn.functional.interpolate(x, scale_factor=4, mode="nearest")
    kernel = torch.tensor(np.array(layer["kernel"].transpose(2, 1, 0)))
    return torch.nn.functional.conv1d(x, kernel, torch.tensor(layer["bias"]), padding=12)


def torch_generator(torch, params, z, upsampled):
    """(B, Z) -> (B, T, 1)."""
    x = torch.tensor(z) @ torch.tensor(params["dense"]["kernel"])
    x = (x + torch.tensor(params["dense"]["bias"])).reshape(len(z), 32, 8).transpose(1, 2)
    for layer in ("upconv1", "upconv2"):
        x = upsampled(torch, torch.relu(x), params[layer])
    return torch.tanh(x).transpose(1, 2)


def torch_discriminator(torch, params, x):
    """(B, T, 1) -> (B, 1); parameters are tensors."""
    x = x.transpose(1, 2)
    for layer in ("conv1", "conv2"):
        x = torch.nn.functional.pad(x, (10, 11))
        kernel = params[layer]["kernel"].permute(2, 1, 0)
        x = torch.nn.functional.conv1d(x, kernel, params[layer]["bias"], stride=4)
        x = torch.nn.functional.leaky_relu(x, 0.2)
    features = x.transpose(1, 2).flatten(1)
    return features @ params["dense"]["kernel"] + params["dense"]["bias"]


@pytest.mark.parametrize(
    ("upsample", "upsampled"), [("transposed", torch_transposed), ("nearest", torch_nearest)]
)
def test_generator_equals_pytorch(upsample, upsampled):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference here")
    network = GENERATOR.clone(upsample=upsample)
    params, z = params_of(network), normal(1, 3, N_LATENT)
    expected = torch_generator(torch, params, z, upsampled)
    np.testing.assert_allclose(apply(network, params, z), expected, atol=1e-5)


def test_discriminator_equals_pytorch_with_second_gradients():
    """The gradient by the parameters of a squared gradient by the input, as a penalty has it."""
    torch = pytest.importorskip("torch", reason="PyTorch is the reference here")
    params, x = params_of(DISCRIMINATOR), normal(1, 3, 512, 1)

    def roughness(params):
        score = lambda x: jnp.sum(DISCRIMINATOR.apply({"params": params}, x))
        return jnp.sum(jnp.square(jax.grad(score)(x)))

    tensors = jax.tree.map(lambda leaf: torch.tensor(leaf, requires_grad=True), params)
    inputs = torch.tensor(x, requires_grad=True)
    scores = torch_discriminator(torch, tensors, inputs)
    np.testing.assert_allclose(apply(DISCRIMINATOR, params, x), scores.detach(), atol=1e-5)

    (slopes,) = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    slopes.square().sum().backward()
    gradients = jax.jit(jax.grad(roughness))(params)
    for name in ("conv1", "conv2", "dense"):
        expected = tensors[name]["kernel"].grad.numpy()
        atol = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(gradients[name]["kernel"], expected, atol=atol, err_msg=name)


# Phase shuffle in its place.


def test_shuffle_lies_between_the_convolutions():
    """One convolution has no place for it; of two, the second sees the first's map shifted."""
    x, rng = normal(0, 2, 64, 1), lambda seed: {"phase_shuffle": jax.random.key(seed)}
    short = Discriminator(dim=4, n_samples=64)
    params = params_of(short)
    plain = apply(short, params, x)  # draws nothing
    np.testing.assert_array_equal(plain, apply(short.clone(phase_shuffle=0), params, x))

    shuffled = DISCRIMINATOR.clone(phase_shuffle=2)
    params, x = params_of(shuffled), normal(0, 2, 512, 1)
    score = jax.jit(lambda seed: shuffled.apply({"params": params}, x, rngs=rng(seed)))
    scores = np.stack([score(seed) for seed in range(20)])
    assert len(np.unique(scores[:, 0])) == 5  # as many as shifts from -2 to 2
    np.testing.assert_array_equal(score(3), scores[3])
    unshuffled = apply(DISCRIMINATOR, params, x)
    assert np.isclose(scores, unshuffled, atol=1e-6).all(axis=(1, 2)).any()
    with pytest.raises(flax.errors.InvalidRngError, match="phase_shuffle"):
        shuffled.apply({"params": params}, x)


# Classes.


def test_generator_takes_a_vector_of_the_class_beside_z():
    network = GENERATOR.clone(n_classes=3)
    params, z, label = params_of(network), normal(1, 4, N_LATENT), np.array([0, 2, 1, 0])
    wider = GENERATOR.clone(n_latent=2 * N_LATENT)
    rest = {name: leaf for name, leaf in params.items() if name != "class_vector"}
    joined = np.concatenate([z, params["class_vector"]["embedding"][label]], axis=1)
    np.testing.assert_allclose(
        apply(network, params, z, label), apply(wider, rest, joined), atol=1e-6
    )


def test_discriminator_projects_onto_the_class():
    network = DISCRIMINATOR.clone(n_classes=3)
    params, x, label = params_of(network), normal(1, 4, 512, 1), np.array([0, 2, 1, 0])
    rest = {name: leaf for name, leaf in params.items() if name != "projection"}
    # The class adds its column to the last layer's.
    expected = [
        apply(
            DISCRIMINATOR,
            {**rest, "dense": {**rest["dense"], "kernel": rest["dense"]["kernel"] + column}},
            x[i : i + 1],
        )[0]
        for i, column in enumerate(params["projection"]["kernel"].T[label][..., None])
    ]
    np.testing.assert_allclose(apply(network, params, x, label), expected, atol=1e-5)


# Several GANs, precision, initial values.


def test_bfloat16_stays_near_float32():
    z = normal(0, 3, N_LATENT)
    generator, discriminator = params_of(GENERATOR), params_of(DISCRIMINATOR)
    waveform = apply(GENERATOR, generator, z)
    half = apply(GENERATOR.clone(dtype=jnp.bfloat16), generator, z)
    np.testing.assert_allclose(half, waveform, atol=0.05)
    assert len(np.unique(half)) > 0.9 * half.size  # the waveform itself is not rounded
    score = apply(DISCRIMINATOR, discriminator, waveform)
    half = apply(DISCRIMINATOR.clone(dtype=jnp.bfloat16), discriminator, waveform)
    np.testing.assert_allclose(half, score, atol=0.05 * np.abs(score).max())
