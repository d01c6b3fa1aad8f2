"""Values for the fields of the project's configs, as overrides and as config files have them."""

import functools
import json
import pathlib
import sys
from typing import NamedTuple

import ml_collections
import numpy as np
from hypothesis import strategies as st

from asc_jax.config import load as configs
from asc_jax.config.format import flatten
from asc_jax.models import resnet
from benchmarks.fuzz import refusal

_FOLDER = pathlib.Path(__file__).parents[1] / "configs"
FILES = ("demo", "small", "esc10", "baseline", "resnet50", "resnet152", "se_resnet152",
         "se_resnet152_aug", "se_resnet152_mel80", "wavegan")  # fmt: skip


def _check_of(name: str) -> configs.Check:
    return configs.check_gan_config if name == "wavegan" else configs.check_config


@functools.cache
def _config(name: str) -> ml_collections.FrozenConfigDict:
    return configs.load_config(str(_FOLDER / f"{name}.py"), check=_check_of(name))


# (config, field) of all fields; each is as likely as any other.
FIELDS = st.sampled_from([(name, field) for name in FILES for field in flatten(_config(name))])

_NUMBERS = st.one_of(
    st.integers(-3, 12),
    st.integers(),
    st.sampled_from([2**31, 2**32, 2**63, 2**64, -(2**70), 10**400, 1e38, 1e39, 1e308, 1e-38,
                     5e-324, -0.0, 0.5, 0.1, 100.0, float("nan"), float("inf"), -float("inf")]),
    st.floats(),
)  # fmt: skip
_WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", " ", "None", "True", "1e5", "~", "~nobody", "gs://b/x", "../x", "a\0b",
                     "adam", "mean_logits", "inner", "waveform", "host", "resnet", "bfloat16",
                     "argmax", "splice", "balanced", "all", "\udce9", "x" * 300, "(1, 2)", "nan",
                     "0x10", "1_000"]),
)  # fmt: skip
_PLAIN = st.one_of(_NUMBERS, _WORDS, st.booleans(), st.none())
_ANY = st.one_of(
    _PLAIN,
    st.lists(_PLAIN, max_size=4).map(tuple),
    st.lists(_PLAIN, max_size=3),
    st.tuples(st.tuples(_PLAIN), _PLAIN),
    st.dictionaries(st.sampled_from(["a", "root", "b.c"]), _PLAIN, max_size=2),
    st.sampled_from([np.float32(0.5), np.float64(2.0), np.int64(3), np.bool_(True),
                     np.float64("nan"), np.array(3), np.array([1, 2]), b"x", 1j, {1, 2}, object,
                     range(3)]),
)  # fmt: skip


class Value(NamedTuple):
    """A value for one field of a config."""

    config: str
    field: str
    value: object


_SMALL = st.one_of(st.integers(0, 4), st.floats(0, 1), st.booleans(), _WORDS)
VALUES = st.builds(
    lambda place, value: Value(*place, value), FIELDS, st.one_of(_SMALL, _SMALL, _ANY)
)
OVERRIDES = st.builds(
    lambda place, value, as_python: Value(*place, repr(value) if as_python else _text(value)),
    FIELDS,
    st.one_of(
        _PLAIN,
        st.lists(_PLAIN, max_size=4).map(tuple),
        st.sampled_from(["(" * 3000, "[" * 90_000, "{[]:1}", "(1,", "1,2", "9" * 5000, "1e400"]),
    ),
    st.booleans(),
)


def _text(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return "1" + "0" * 400


def check_value(given: Value) -> str:
    """A config with the value is refused, naming the field, or comes back whole from its JSON."""
    config = configs.changeable(_config(given.config))
    check = _check_of(given.config)
    group, _, name = given.field.rpartition(".")
    place = config[group] if group else config
    with config.ignore_type():
        try:
            place[name] = given.value
        except (ValueError, TypeError, KeyError, OverflowError):  # ml_collections takes none such
            return "refused"

    said = refusal(configs.override, config, [], "config/load.py", check=check, names=name)
    return _judged(given, check, *said)


def check_override(given: Value) -> str:
    """The same of a value in a command line, which is a text."""
    check = _check_of(given.config)
    words = [f"--config.{given.field}={given.value}"]
    result = refusal(
        configs.override, _config(given.config), words, "config/load.py", check=check, typed=True,
        names=given.field.rpartition(".")[2],
    )  # fmt: skip
    if not result[1]:
        _check_meaning(given, flatten(result[0])[given.field])
    return _judged(given, check, *result)


def _check_meaning(given: Value, value: object) -> None:
    """A text that is taken means what it says."""
    text, before = given.value, flatten(_config(given.config))[given.field]
    if isinstance(before, str):
        assert value == text or given.field in configs.PATH_FIELDS, (text, value)
    elif isinstance(before, bool):
        assert (text.lower() in ("true", "t", "1")) == value, (text, value)
    elif isinstance(before, (int, float)):
        assert (int(text, 0) if text[:2] in ("0x", "0o") else float(text)) == value, (text, value)


def _judged(given: Value, check: configs.Check, config, said: str) -> str:
    if said:
        return "refused"
    text = configs.to_json(config)
    again = configs.from_json(text, "config.json", check=check)
    before, after = flatten(config), flatten(again)
    for field in configs.PATH_FIELDS:
        if before.get(field):
            before[field] = str(pathlib.Path(before[field]).absolute())
    assert before == after, set(before.items()) ^ set(after.items())
    assert configs.to_json(again) == text
    json.loads(text, parse_constant=lambda word: sys.exit(f"{word} in JSON"))
    return "read"


class Network(NamedTuple):
    """Fields of a network and its input, within their ranges."""

    config: str
    values: tuple[tuple[str, object], ...]


def _fields(**strategies) -> st.SearchStrategy:
    return st.fixed_dictionaries(
        {}, optional={name.replace("__", "."): one for name, one in strategies.items()}
    ).map(lambda chosen: tuple(chosen.items()))


_STAGES = st.lists(st.integers(1, 3), min_size=1, max_size=5)
_SIZES = st.one_of(st.integers(1, 8), st.integers(1, 300))
NETWORKS = st.one_of(
    st.builds(
        Network,
        st.sampled_from(["resnet50", "baseline", "se_resnet152", "small"]),
        _fields(
            model__stage_sizes=_STAGES.map(tuple), model__stage_strides=_STAGES.map(tuple),
            model__width=_SIZES, model__block=st.sampled_from(sorted(resnet.BLOCKS)),
            model__order=st.sampled_from(sorted(resnet.ORDERS)), model__se_ratio=_SIZES,
            model__shortcut=st.sampled_from(sorted(resnet.SHORTCUTS)),
            model__head=st.sampled_from(sorted(resnet.HEADS)),
            model__max_receptive_field=st.integers(0, 600), model__dropout_rate=st.floats(0, 1),
            data__clip_seconds=st.one_of(st.floats(0, 0.2), st.floats(0, 30)),
            data__n_frames=st.integers(0, 600), frontend__n_mels=_SIZES,
            frontend__n_fft=st.sampled_from([1, 2, 3, 64, 500, 2048, 4096]),
            frontend__win_length=st.integers(0, 4096), frontend__hop_length=st.integers(0, 4000),
            frontend__sr=st.sampled_from([1000, 8000, 48_000, 768_000]),
            frontend__fmin=st.floats(0, 30_000), frontend__fmax=st.floats(0, 30_000),
            frontend__center=st.booleans(), frontend__htk=st.booleans(),
            frontend__pad_mode=st.sampled_from(["constant", "reflect"]),
            frontend__power=st.floats(0, 4), frontend__log_floor=st.floats(0, 1),
            train__precision=st.sampled_from(["float32", "bfloat16"]),
            train__crop_seconds=st.one_of(st.floats(0, 0.2), st.floats(0, 30)),
            train__class_weights=st.sampled_from(["none", "balanced"]),
            ensemble__hop_seconds=st.one_of(st.floats(0, 1e-3), st.floats(0, 30)),
            data__pool=st.sampled_from(["log_mel", "waveform"]),
            folds__kind=st.sampled_from(["all", "location"]), folds__n_folds=st.integers(0, 3),
        ),
    ),
    st.builds(
        Network,
        st.just("wavegan"),
        _fields(
            gan__dim=st.integers(1, 8), gan__n_samples=st.one_of(st.integers(60, 5000),
            st.sampled_from([64, 16_384, 32_768])), gan__n_latent=_SIZES,
            gan__upsample=st.sampled_from(["transposed", "nearest"]),
            gan__phase_shuffle=st.integers(0, 40), gan__conditional=st.booleans(),
            gan__loss=st.sampled_from(["wgan_gp", "dcgan", "lsgan", "wgan"]),
        ),
    ),
)  # fmt: skip


def check_network(given: Network) -> str:
    """What a config takes, a network can be made of; what it cannot, is refused in a line."""
    import jax
    import jax.numpy as jnp

    from asc_jax import frontend
    from asc_jax.models.summary import render, summarise
    from asc_jax.runs.inputs import crops_of, input_shape, make_network

    check = _check_of(given.config)
    known = flatten(_config(given.config))
    words = [f"--config.{field}={value}" for field, value in given.values if field in known]
    config, said = refusal(
        configs.override, _config(given.config), words, "config/load.py", check=check, typed=True
    )
    if said:
        assert any(field.rpartition(".")[2] in said for field in known), said
        return "refused"
    if given.config == "wavegan":
        return _check_gan(config)

    def build():
        n_frames, n_mels = input_shape(config)
        of_frontend = configs.frontend_config(config)
        n_samples = round(config.data.clip_seconds * of_frontend.sr)
        log_mels = jax.eval_shape(
            lambda wave: frontend.log_mel(wave, of_frontend),
            jax.ShapeDtypeStruct((2, n_samples), jnp.float32),
        )
        if crops := crops_of(config):
            longest = round(config.data.clip_seconds * of_frontend.sr)
            assert min(crops.size, crops.hop) > 0 and crops.size <= longest + 1, crops
        assert log_mels.shape[1] >= n_frames and log_mels.shape[2] == n_mels, log_mels.shape
        network, key = make_network(config, 10, axis_name=None), jax.random.key(0)
        seen = jax.ShapeDtypeStruct((2, n_frames, n_mels), jnp.float32)
        logits, _ = jax.eval_shape(lambda x: network.init_with_output(key, x, train=False), seen)
        assert logits.shape == (2, 10)
        return render(summarise(make_network(config, 10), n_frames, n_mels))

    _, said = refusal(build)
    return "refused" if said else "read"


def _check_gan(config) -> str:
    """The generator's waveform has as many samples as the config says; it can be scored."""
    import jax

    from asc_jax.gan.setup import make_networks

    def build():
        networks, key = make_networks(config, n_classes=3), jax.random.key(0)
        for network in (networks.generator, networks.discriminator):
            out, _ = jax.eval_shape(
                lambda *given, network=network: network.init_with_output(
                    {"params": key, "phase": key, "phase_shuffle": key}, *given
                ),
                *network.input_shapes(),
            )
            yield out.shape

    shapes, said = refusal(lambda: list(build()))
    assert said or shapes[0][1] == config.gan.n_samples, shapes
    return "refused" if said else "read"
