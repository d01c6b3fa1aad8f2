"""Reading a whole data set once, to say what is in it and what is wrong with it."""

import collections
import pathlib

from asc_jax.data import audio
from asc_jax.data.clips import Dataset, read_dataset


def check_dataset(root: pathlib.Path) -> str:
    """Decodes every clip of a data set.

    Args:
      root: as for `read_dataset`.

    Returns:
      A text of a few lines: clips and locations per class, published folds, formats.

    Raises:
      InputError: as `read_dataset`, or with a line for every bad audio file.
    """
    dataset = read_dataset(root)
    paths = [dataset.audio_path(clip) for clip in dataset.clips]
    formats = collections.Counter(audio.map_files(_format, paths))
    return "\n".join([*_describe_tables(dataset), *_describe_formats(formats)])


def _format(path: pathlib.Path) -> tuple[int, int, int]:
    """Rate (Hz), channels and length (samples) of a file that decodes."""
    samples, sr = audio.decode(path)
    return sr, samples.shape[1], samples.shape[0]


def _describe_tables(dataset: Dataset) -> list[str]:
    n_locations = len({clip.location for clip in dataset.clips})
    lines = [f"{dataset.root}: {len(dataset.clips)} clips, {n_locations} locations"]
    for label in dataset.scene_labels:
        clips = [clip for clip in dataset.clips if clip.scene_label == label]
        n_locations = len({clip.location for clip in clips})
        lines.append(f"  {label:20}{len(clips):6} clips{n_locations:6} locations")
    for fold, split in dataset.published_folds.items():
        lines.append(f"  fold {fold}: {len(split.train)} train, {len(split.evaluate)} evaluate")
    return lines


def _describe_formats(formats: collections.Counter) -> list[str]:
    return [
        f"  {count} files of {samples / sr:g} s, {sr} Hz, {channels} channels"
        for (sr, channels, samples), count in formats.most_common()
    ]
