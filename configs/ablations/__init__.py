r"""Ablations: settings of a few fields each, over a base config.

Each file has a `get_config()`, the base, and a `get_settings()`, a list of {field: value}. To run
all of them, three seeds each, over the file's base or over another config:

    asc-jax sweep --config=configs/ablations/se.py --config.data.root=FOLDER \
        --workdir=runs/se --seeds=0,1,2
    asc-jax sweep --config=configs/ablations/se.py --base=configs/esc10.py ...

`--dry_run` prints the commands, each of which can be typed alone. A setting wins over an override.
"""
