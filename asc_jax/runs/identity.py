"""What lies where a config's fields say, told by its content: it may move, but not change."""

import hashlib
import json
import pathlib

from asc_jax.config.ablation import is_gan_config
from asc_jax.config.format import as_before
from asc_jax.data import audio
from asc_jax.data.class_folders import find_recordings
from asc_jax.data.clips import Dataset, read_dataset
from asc_jax.data.generated import manifest_digest
from asc_jax.runs.folder import SYNTHETIC, fixed_by_content, read_config
from asc_jax.runs.inputs import impulse_folder


def identify(config) -> dict[str, str]:
    """What a config's runs learn from.

    Args:
      config: checked; of a classifier or of a GAN.

    Returns:
      field -> what lies there, of the fields that are set: the data set, synthetic clips and
      impulse responses, or a GAN's classifier, which brings its data.

    Raises:
      InputError: there is nothing of the kind.
    """
    if is_gan_config(config):
        places = {"gan.classifier": (config.gan.classifier, _of_run)}
    else:
        places = {
            "data.root": (config.data.root, lambda root: of_dataset(read_dataset(root))),
            "synthetic.root": (config.synthetic.root, manifest_digest),
            "augment.impulse_responses": (impulse_folder(config), _of_responses),
        }
    return {field: tell(place) for field, (place, tell) in places.items() if place}


def of_dataset(dataset: Dataset) -> str:
    """A data set by its clips, their labels and locations, and its published folds."""
    paths = [clip.path for clip in dataset.clips]
    folds = {
        number: [sorted(paths[i] for i in part) for part in (fold.train, fold.evaluate)]
        for number, fold in dataset.published_folds.items()
    }
    clips = sorted((clip.path, clip.scene_label, clip.location) for clip in dataset.clips)
    return f"{len(clips)} clips, {_digest([clips, folds])}"


def _of_responses(folder: str) -> str:
    """Impulse responses by their files' content, in their order."""
    digests = [audio.digest(path) for path in find_recordings(pathlib.Path(folder))]
    return f"{len(digests)} files, {_digest(digests)}"


def _of_run(workdir: str) -> str:
    """A classifier's run: a function of its config, which has the seed, and of its data."""
    folder = pathlib.Path(workdir)
    fields = as_before(fixed_by_content(read_config(folder)))
    records = [folder / name for name in ("splits.json", SYNTHETIC)]
    return _digest([fields, [path.read_text() for path in records if path.exists()]])


def _digest(content) -> str:
    described = json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(described).hexdigest()[:16]
