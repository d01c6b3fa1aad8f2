"""A GAN's classifier on several hosts, of which the first alone has its run folder."""

import os
import subprocess
import sys

from checkout import CONFIGS, ROOT

from asc_jax.config.load import load_config, to_json

CONFIG = load_config(CONFIGS / "demo.py")

# Each process works in a folder of its own, as on a host of its own. What the first one's lacks
# at its first look it has at its second.
OPENS = """
import os, pathlib
from asc_jax.parallel import hosts
from asc_jax.runtime.errors import InputError
from asc_jax.runs.folder import read_trained_config

os.chdir(os.environ["ASC_JAX_PROCESS"])
hosts.join(hosts.read_place(os.environ))
for look in range(2):
    if look and hosts.is_first():
        pathlib.Path("classifier", "checkpoints", "3").mkdir(parents=True)
    try:
        print("found", read_trained_config(pathlib.Path("classifier"), "gan.classifier").title)
    except InputError as error:
        print("refused", error.path)
"""


def test_all_hosts_learn_of_the_first_ones_folder_what_it_finds(tmp_path):
    for number in ("0", "1"):
        (tmp_path / number).mkdir()
    (tmp_path / "0" / "classifier").mkdir()
    (tmp_path / "0" / "classifier" / "config.json").write_text(to_json(CONFIG))
    command = [sys.executable, ROOT / "launch" / "local.py", "--processes=2", "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", OPENS],
        # Not unbuffered: a line is then written whole.
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "", "XLA_FLAGS": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = sorted(line for line in done.stdout.splitlines() if "[Gloo]" not in line)
    once = ["refused classifier", f"found {CONFIG.title}"]
    assert said == sorted([*once, *(f"[1] {line}" for line in once)])
