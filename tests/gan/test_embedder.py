"""A GAN's classifier on several hosts, of which the first alone has its run folder."""

import os
import subprocess
import sys

from checkout import ROOT

from asc_jax.config.load import load_config, to_json

CONFIG = load_config(str(ROOT / "configs" / "demo.py"))

# Each process works in a folder of its own, as on a host of its own.
OPENS = """
import os, pathlib
from asc_jax.parallel import hosts
from asc_jax.runtime.errors import InputError
from asc_jax.gan.embedder import _read_config

os.chdir(os.environ["ASC_JAX_PROCESS"])
hosts.join(hosts.read_place(os.environ))
try:
    print("found", _read_config(pathlib.Path("classifier"), "gan.classifier").title)
except InputError as error:
    print(error)
"""


def test_all_hosts_learn_of_the_first_ones_folder_what_it_finds(tmp_path):
    for number in ("0", "1"):
        (tmp_path / number).mkdir()
    folder = tmp_path / "0" / "classifier"
    command = [sys.executable, ROOT / "launch" / "local.py", "--processes=2", "--"]
    said = []
    for made in ("config.json", "checkpoints/3"):
        (folder / made).parent.mkdir(parents=True, exist_ok=True)
        (folder / made).write_text(to_json(CONFIG))
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
        said.append(sorted(line for line in done.stdout.splitlines() if "[Gloo]" not in line))
    refusal = "classifier: no epoch is finished; run asc-jax train with this --workdir"
    assert said[0] == [f"[1] {refusal}", refusal]
    assert said[1] == [f"[1] found {CONFIG.title}", f"found {CONFIG.title}"]
