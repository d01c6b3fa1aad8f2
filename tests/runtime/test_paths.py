"""Paths in flags and fields: one meaning of `~`, and one answer to what is no path."""

import pathlib
import pwd

import pytest
from checkout import CONFIGS
from refusals import refused

from asc_jax import cli
from asc_jax.config.load import PATH_FIELDS, check_gan_config, from_json, load_config, to_json
from asc_jax.data.cache import default_cache_dir
from asc_jax.flags import build_parser
from asc_jax.runtime.paths import expand

DEMO, WAVEGAN = str(CONFIGS / "demo.py"), str(CONFIGS / "wavegan.py")

# A path flag each, of every command.
COMMANDS = (
    ("data", "synth", "{}"),
    ("data", "check", "{}"),
    ("data", "download", "--root={}"),
    ("data", "download", "--root=x", "--archives={}"),
    ("train", "--config={}", "--workdir=x"),
    ("train", "--config=x", "--workdir={}"),
    ("gan", "--config={}", "--workdir=x"),
    ("gan", "--config=x", "--workdir={}"),
    ("synthesize", "--workdir={}", "--out=x"),
    ("synthesize", "--workdir=x", "--out={}"),
    ("synthesize", "--workdir=x", "--out=x", "--classifier={}"),
    ("summary", "--config={}"),
    ("evaluate", "--workdir={}"),
    ("evaluate", "--workdir=x", "--data={}"),
    ("sweep", "--config={}", "--workdir=x"),
    ("sweep", "--config=x", "--workdir={}"),
    ("sweep", "--config=x", "--workdir=x", "--base={}"),
    ("reproduce", "--workdir={}"),
    ("reproduce", "--workdir=x", "--data={}"),
    ("report", "{}"),
    ("report", "x", "--reference={}"),
    ("report", "x", "--out={}.html"),
)


@pytest.fixture
def home(tmp_path, monkeypatch) -> pathlib.Path:
    """A home folder of this user's, and another user's."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    known = {"someone": type("Entry", (), {"pw_dir": "/home/of/someone"})}
    monkeypatch.setattr(pwd, "getpwnam", known.__getitem__)
    return tmp_path / "home"


@pytest.fixture
def homeless(monkeypatch):
    """As in a container whose user has no entry."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)


def values(args) -> list[str]:
    """Those of all flags, one by one."""
    lists = [value if isinstance(value, list) else [value] for value in vars(args).values()]
    return [str(one) for values in lists for one in values]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_home_folder_in_every_flag(words, home):
    for path, place in (("~/x", home / "x"), ("~someone/x", "/home/of/someone/x"), ("a~", "a~")):
        args = build_parser().parse_args([word.format(path) for word in words])
        suffix = ".html" if "{}.html" in words[-1] else ""
        assert f"{place}{suffix}" in values(args)


@pytest.mark.parametrize("path", ["", "gs://bucket/run", "s3:/bucket", "~nobody/x", "a\0b"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_is_no_path_is_refused_in_every_flag(words, path, home, capsys, process_as_it_was):
    if not path and "{}.html" in words[-1]:
        words = (*words[:-1], "--out={}")
    assert cli.main([word.format(path) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    flag = next(word for word in words if "{}" in word).partition("=")[0]
    assert line.startswith(flag if flag.startswith("--") else ("FOLDER", "RUN"))
    assert list(pathlib.Path().iterdir()) == []


@pytest.mark.parametrize("field", PATH_FIELDS)
def test_the_home_folder_in_every_field(field, home):
    is_gan = field.startswith(("gan.", "synthesis."))
    path, kind = (WAVEGAN, {"check": check_gan_config}) if is_gan else (DEMO, {})
    group, name = field.split(".")
    others = ["--config.data.pool=waveform", "--config.augment.impulse_p=0.5"]
    others = others if field == "augment.impulse_responses" else []
    config = load_config(path, [f"--config.{field}=~/x", *others], **kind)
    assert config[group][name] == str(home / "x")
    text = to_json(config)
    assert str(home / "x") in text
    again = from_json(text.replace(str(home), "~"), "config.json", **kind)
    assert again[group][name] == str(home / "x")
    relative = load_config(path, [f"--config.{field}=x", *others], **kind)
    assert str(pathlib.Path("x").absolute()) in to_json(relative)
    for wrong in ("gs://bucket/x", "~nobody/x"):
        with refused(field=f"--config.{field}"):
            load_config(path, [f"--config.{field}={wrong}"], **kind)
        with refused(path="config.json", field=field):
            from_json(text.replace(str(home / "x"), wrong), "config.json", **kind)


def test_every_field_that_names_a_folder_is_one_of_the_list():
    fields = {
        f"{group}.{name}"
        for path, kind in ((DEMO, {}), (WAVEGAN, {"check": check_gan_config}))
        for group, values in load_config(path, **kind).items()
        if hasattr(values, "items")
        for name in values
        if name.endswith(("root", "dir", "classifier", "init_from", "responses")) or name == "run"
    }
    assert fields == set(PATH_FIELDS)


def test_caches_without_a_home(homeless, monkeypatch):
    with refused() as caught:
        default_cache_dir()
    assert "XDG_CACHE_HOME" in str(caught.value) and "data.cache_dir" in str(caught.value)
    with refused():
        expand("~/x")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_cache_dir() == pathlib.Path("/caches/asc_jax")


def test_a_home_for_caches_is_expanded(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "~/caches")
    assert default_cache_dir() == home / "caches" / "asc_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_cache_dir() == home / ".cache" / "asc_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "gs://bucket")
    with refused(field="XDG_CACHE_HOME"):
        default_cache_dir()
