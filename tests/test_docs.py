"""What the README and docs/ show: each block of commands or Python is run, or says why it is not.

Blocks of `sh` and `python` are run, in a folder where those of docs/index.md have been run before
and a clip.wav lies. A comment above a block says otherwise:

    <!-- block parsed: REASON -->       its commands are parsed: flags, configs, fields, files
    <!-- block not run: REASON -->
    <!-- block run by tests/FILE.py --> which names the page
    <!-- block from FILE -->            which it is a part of
    <!-- commands parsed: REASON -->    the first of these, for all `sh` from there on
    <!-- blocks run by FILE -->         any of these, for all blocks from there on

Commands that are run are cut down: a tiny data set and network, one epoch.
"""

import dataclasses
import glob
import json
import os
import pathlib
import re
import runpy
import subprocess
import sys
import tomllib
from typing import NamedTuple

import numpy as np
import pytest
import small
from checkout import COMPILE_QUICKLY, ROOT

from asc_jax import cli, flags
from asc_jax.config.ablation import load_ablation
from asc_jax.config.load import check_gan_config, flatten, load_config
from asc_jax.config.overrides import field_of
from asc_jax.config.rules import GAN_RULES, RULES
from asc_jax.data.audio import write_wav
from asc_jax.runs.logits import read_logits
from asc_jax.stats.scores import scores_by_location
from benchmarks.__main__ import BENCHMARKS

INDEX = ROOT / "docs" / "index.md"
PAGES = [INDEX, ROOT / "README.md", *sorted({*(ROOT / "docs").glob("*.md")} - {INDEX})]
MARK_OR_BLOCK = re.compile(
    r"^<!-- (?P<scope>block|blocks|commands) "
    r"(?P<how>(?:parsed|not run): [^\n]+|(?:run by|from) \S+) -->$"
    r"|^ *```(?P<language>sh|bash|shell|console|python|py)\n(?P<code>.*?)^ *```$",
    re.M | re.S,
)

# What a command that is run is cut down to.
SHORTER = {
    "train": (*small.WORDS, "--config.train.epochs=1"),
    "synth": ("--locations=4", "--clips=2", "--seconds=1"),
}


class Block(NamedTuple):
    """A block of a page: where it is, its language and code, and how it is tested."""

    place: str
    language: str
    code: str
    how: str


def blocks(page: pathlib.Path) -> list[Block]:
    text, found, of_page, of_block = page.read_text(), [], {}, None
    for match in MARK_OR_BLOCK.finditer(text):
        match match["scope"]:
            case "block":
                of_block = match["how"]
            case "commands":
                of_page["sh"] = match["how"]
            case "blocks":
                of_page = dict.fromkeys(("sh", "python"), match["how"])
            case None:
                language = "python" if match["language"].startswith("py") else "sh"
                line = text.count("\n", 0, match.start()) + 1
                how = of_block or of_page.get(language, "run")
                place = f"{page.relative_to(ROOT)}:{line}"
                found.append(Block(place, language, match["code"], how))
                of_block = None
    return found


PROGRAMS = ("asc-jax", "make", "pip", "python", "python3", "sbatch", "launch/tpu_vm.sh")

# In the place of each program: writes down how it was called.
RECORDER = """#!/bin/bash
printf '%s\\0' $(($# + 1)) "${0#$PROGRAMS/}" "$@" >> "$CALLS"
"""


def commands(code: str, folder: pathlib.Path) -> list[list[str]]:
    """The words of each program that bash calls for a block, none of which is run."""
    programs, calls = folder / "programs", folder / "calls"
    for name in PROGRAMS:
        program = (folder if "/" in name else programs) / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(RECORDER)
        program.chmod(0o755)
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.touch()
    env = {"PATH": str(programs), "PROGRAMS": str(programs), "CALLS": str(calls)}
    bash = subprocess.run(
        ["/bin/bash", "-euc", code], env=env, cwd=folder, capture_output=True, text=True
    )
    assert bash.returncode == 0, bash.stderr
    words = calls.read_text().split("\0")[:-1]
    found = []
    while words:
        n = int(words[0])
        found.append(words[1 : n + 1])
        words = words[n + 1 :]
    return found


def parse(words: list[str]) -> None:
    """Asserts that a program would take its words, and that the files that they name are there."""
    match words:
        case ["asc-jax", *rest]:
            parse_command(rest)
        case ["make", *rest]:
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
            assert {word for word in rest if "=" not in word} <= {*targets}
        case ["pip", "install", *rest] | ["python", "-m", "pip", "install", *rest]:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            extras = [extra for word in rest for extra in re.findall(r"\[(.+)\]", word)]
            assert {*",".join(extras).split(",")} - {""} <= {*project["optional-dependencies"]}
        case ["python", "-m", "benchmarks", *rest]:
            assert not rest or rest[0] in BENCHMARKS
        case ["python3", "-m", "venv", _]:
            pass
        case ["sbatch" | "python" | "launch/tpu_vm.sh" as program, *rest]:
            files = [word for word in (program, *rest) if word.startswith("launch/")]
            assert files and all((ROOT / file).is_file() for file in files)
            if "asc-jax" in rest:
                parse(rest[rest.index("asc-jax") :])
        case _:
            pytest.fail(f"{words}: not parsed here; mark its block as not run, with the reason")


def parse_command(words: list[str]) -> None:
    args = flags.parse(words)
    any_config = lambda *_: None
    match args.command:
        case "train":
            load_config(args.config, args.overrides)
        case "gan":
            load_config(args.config, args.overrides, check=check_gan_config)
        case "sweep":
            load_ablation(args.config, base=args.base or "", overrides=args.overrides)
        case "summary" | "config":
            load_config(args.config or args.file, args.overrides, check=any_config)
        case _:
            assert {*map(field_of, args.overrides)} <= {*RULES, *GAN_RULES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_not_run_is_right_as_far_as_can_be_seen(page, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for i, block in enumerate(blocks(page)):
        print(block.place)  # shown where it fails
        how, _, file = block.how.rpartition(" ")
        match how:
            case "run by":
                assert str(page.relative_to(ROOT)) in (ROOT / file).read_text()
            case "from":
                assert block.code.strip() in (ROOT / file).read_text()
        if block.how.startswith("parsed"):
            assert block.language == "sh"
            for words in commands(block.code, tmp_path / str(i)):
                parse(words)


def test_all_else_runs(tmp_path, monkeypatch, process_as_it_was):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.5, 0.5, 44_100).astype(np.float32)
    for path in (tmp_path / "clip.wav", tmp_path / "ESC-10" / "001 - Dog bark" / "1-100032-A.ogg"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, noise, 44_100)
    for page in PAGES:
        names = {}
        for i, block in enumerate(blocks(page)):
            if block.how != "run":
                continue
            print(block.place)  # shown where it fails
            if block.language == "python":
                exec(block.code, names)
                continue
            for program, *words in commands(block.code, tmp_path / page.stem / str(i)):
                assert program == "asc-jax", "is not run here; mark its block"
                words = [path for word in words for path in sorted(glob.glob(word)) or [word]]
                kind = words[1] if words[0] == "data" else words[0]
                status = cli.main([*words, *SHORTER.get(kind, ())])
                assert status == 0


def test_the_notebook_runs(tmp_path):
    notebook = json.loads((ROOT / "docs" / "first_steps.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    code = "\n".join("".join(cell["source"]) for cell in cells)
    env = os.environ | {"XLA_FLAGS": COMPILE_QUICKLY}  # on one device
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "build" / "first_steps.png").stat().st_size


def prose(page: pathlib.Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)


def anchors(page: pathlib.Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_page_of_ablations_lists_each_with_its_question():
    page = (ROOT / "docs" / "ablations.md").read_text()
    rows = []
    for path in sorted({*(ROOT / "configs" / "ablations").glob("*.py")}):
        if path.stem != "__init__":
            ablation = load_ablation(str(path))
            base, settings = flatten(ablation.base), ablation.settings
            same = [one for one in settings if one.fields.items() <= base.items()]
            link = f"[`{path.stem}`](../configs/ablations/{path.name})"
            rows.append(f"| {link} | {ablation.question} | {len(settings)} | `{same[0].name}` |")
    assert rows == re.findall(r"^\| \[`\w+`\]\(.*", page, re.M)


def test_the_site_has_every_page_and_every_field():
    listed = (ROOT / "mkdocs.yml").read_text()
    assert not [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in listed]
    table_of_fields = runpy.run_path(str(ROOT / "docs" / "pages.py"))["table_of_fields"]
    files = ("configs/default.py", "configs/resnet50.py", "configs/wavegan.py")
    tables = "".join(map(table_of_fields, files))
    assert not [field for field in {**RULES, **GAN_RULES} if f"<code>{field}</code>" not in tables]


def test_the_recipes_figures_are_those_of_its_logits():
    """The means of README, docs/recipe.md and the card, from the logits of the three seeds."""
    folder = ROOT / "benchmarks" / "results" / "esc10_best"
    read = [read_logits(folder / f"seed{seed}.npz") for seed in range(3)]
    lists, (labels, *_) = [lists["out_of_fold"] for lists, _ in read], [one for _, one in read]
    first = lists[0]
    targets = np.array([labels.index(clip.scene_label) for clip in first.clips])
    locations = np.array([clip.location for clip in first.clips])
    answers = np.stack([one.logits.argmax(axis=1) for one in lists])
    assert all(one.clips == first.clips for one in lists)

    def score(seeds, from_fold):
        m = first.folds >= from_fold
        found, _, _ = scores_by_location(targets[m], answers[seeds][:, m], locations[m], 10)
        # 92.75 is 92.8.
        return "{:.1f} [{:.1f}, {:.1f}]".format(
            *(1e-9 + 100 * x for x in dataclasses.astuple(found))
        )

    recipe = (ROOT / "docs" / "recipe.md").read_text()
    for seed in range(3):
        assert f"| {seed} | 240 | {score([seed], 1)} (" in recipe
    for from_fold in (1, 3, 4):
        assert f"| 0, 1, 2 | 240 | {score([0, 1, 2], from_fold)} |" in recipe.replace("**", "")
    with_unit = score([0, 1, 2], 1).replace(" [", " % [")
    assert f"**{with_unit}**" in (ROOT / "README.md").read_text()
    card = tomllib.loads((ROOT / "asc_jax/inference/shipped/esc10.toml").read_text())
    assert card["accuracy"].startswith(with_unit)
