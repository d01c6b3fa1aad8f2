"""What each budget of `asc-jax reproduce` changes in the configs of Table 4.

    asc-jax reproduce --workdir=FOLDER --budget=smoke
    asc-jax reproduce --workdir=FOLDER --data=ROOT --budget=full

smoke: every stage, with tiny networks of the same kinds: `make table4`. It shows that the chain
    works and says nothing about the rows. Minutes on two CPU cores.
short: the paper's networks for a quarter of the epochs. Hardware, time and scores: not yet run.
full: the configs as they are. Hardware, time and scores: not yet run.
"""


def get_budgets() -> dict[str, dict[str, dict]]:
    """Budget -> the name of a config -> {"group.field": value}."""
    # No page of the smallest runs is to pass for a row's. After the comma, the run folder: by it
    # the page of them all knows the title that they share.
    titles = {name: {"title": f"Table 4 in miniature, {name}"} for name in _smoke()}
    smoke = {name: fields | titles[name] for name, fields in _smoke().items()}
    return {"smoke": smoke, "short": _short(), "full": {}}


def _smoke() -> dict[str, dict]:
    every = {
        "data.clip_seconds": 2.0,  # s
        "data.n_frames": 100,  # of 101
        "data.fit_length": True,  # longer clips are cut
        "data.channels": 0,  # any
        "frontend.n_mels": 20,
        "optimizer.lr": 3e-3,
        "train.batch_size": 16,
        "train.epochs": 20,
    }
    # All rows are scored on the same clips: the published test part, the baseline's own.
    resnet = every | {"folds.n_folds": 2, "folds.test_fold": 1, "model.width": 16}
    resnet |= {"model.stage_sizes": (2,), "model.stage_strides": (2,)}
    # Depth, squeeze-and-excitation, bands and generated clips still tell the rows apart.
    se = resnet | {"model.se_ratio": 4}
    return {
        "baseline": every
        | {
            "data.n_frames": 500,  # its poolings take so many
            "frontend.hop_length": 192,  # samples: 500 frames of 2 s
            "optimizer.lr": 1e-3,
            "train.batch_size": 4,  # its moving statistics need many steps
            "train.epochs": 20,
            "train.select_after": 10,
            # So few steps leave few probabilities above 0.5, and of all other clips the protocol's
            # rule makes class 0.
            "ensemble.decision": "argmax",
        },
        "resnet50": resnet | {"model.stage_sizes": (1,)},
        "resnet152": resnet,
        "se_resnet152": se,
        "se_resnet152_mel80": se | {"frontend.n_mels": 40},
        "wavegan": {
            "gan.fold": 0,  # all folds in one program
            "gan.conditional": True,  # one GAN per fold, not one per scene
            "gan.unseen_fraction": 0.33,
            "gan.dim": 4,
            "gan.n_samples": 4096,  # per segment
            "gan.n_latent": 4,  # of 16, 100 steps leave the clips of some seeds all alike
            "gan.loss": "lsgan",  # no gradient penalty: compiles in half the time
            "gan.lr": 5e-4,
            "train.batch_size": 6,
            "train.epochs": 2,
            "train.steps_per_epoch": 50,
            "train.watch_clips": 16,
            "synthesis.n_clips": 20,  # per fold
            "synthesis.merge": "crossfade",
            "synthesis.rules": (),  # a tiny GAN may not convince the classifier
        },
        "se_resnet152_aug": se,
    }


def _short() -> dict[str, dict]:
    quarter = {"train.epochs": 15}
    return {
        "baseline": {"train.epochs": 50, "train.select_after": 12},
        "resnet50": quarter,
        "resnet152": quarter,
        "se_resnet152": quarter,
        "se_resnet152_mel80": quarter,
        "wavegan": {
            "gan.conditional": True,  # one GAN per fold, not one per scene
            "train.epochs": 10,  # of 200
        },
        "se_resnet152_aug": quarter,
    }
