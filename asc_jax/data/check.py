"""Reading a whole data set once, to say what is in it and what is wrong with it."""

import collections
import pathlib

from asc_jax.data import audio
from asc_jax.data.clips import Dataset, read_tables, refuse_missing


def check_dataset(root: pathlib.Path, *, argument: str = "data.root") -> str:
    """Decodes every clip of a data set.

    Args:
      root: as for `read_tables`.
      argument: as for `read_tables`.

    Returns:
      A text of a few lines: clips and locations per class, published folds, formats.

    Raises:
      InputError: as `read_tables`; with a line for every audio file that is missing or bad, or
        with one line where none is there.
    """
    dataset = read_tables(root, argument=argument)
    paths = [dataset.audio_path(clip) for clip in dataset.clips]
    if not any(path.exists() for path in paths):
        refuse_missing(dataset)
    formats = collections.Counter(audio.map_files(_format, paths))
    return "\n".join([*_describe_tables(dataset), *_describe_formats(formats)])


def _format(path: pathlib.Path) -> tuple[int, int, float]:
    """Rate (Hz), channels and length (seconds, to a hundredth) of a file that decodes."""
    samples, sr = audio.decode(path)
    return sr, samples.shape[1], round(samples.shape[0] / sr, 2)


def _describe_tables(dataset: Dataset) -> list[str]:
    n_locations = len({clip.location for clip in dataset.clips})
    n_clips, n_places = _count(len(dataset.clips), "clip"), _count(n_locations, "location")
    lines = [f"{dataset.root}: {n_clips}, {n_places}"]
    for label in dataset.scene_labels:
        clips = [clip for clip in dataset.clips if clip.scene_label == label]
        n_locations = len({clip.location for clip in clips})
        n_clips, n_places = _count(len(clips), "clip", 6), _count(n_locations, "location", 6)
        lines.append(f"  {label:20}{n_clips:12}{n_places}")
    for fold, split in dataset.published_folds.items():
        lines.append(f"  fold {fold}: {len(split.train)} train, {len(split.evaluate)} evaluate")
    return lines


def _describe_formats(formats: collections.Counter) -> list[str]:
    return [
        f"  {_count(count, 'file')} of {seconds:g} s, {sr} Hz, {_count(channels, 'channel')}"
        for (sr, channels, seconds), count in formats.most_common()
    ]


def _count(n: int, noun: str, width: int = 0) -> str:
    return f"{n:{width}} {noun}{'' if n == 1 else 's'}"
