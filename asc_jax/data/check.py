"""Reading a whole data set once, to say what is in it and what is wrong with it."""

import os
import pathlib

from asc_jax.data import audio
from asc_jax.data.clips import Dataset, read_tables
from asc_jax.data.on_disk import file_problems
from asc_jax.runtime.errors import InputError

# Rate (Hz), channels and length (seconds, to a hundredth) of a file.
_Format = tuple[int, int, float]

# Formats that are told by themselves; clips of all lengths would fill the screen.
_MOST_FORMATS = 4


def check_dataset(root: pathlib.Path, *, argument: str = "data.root") -> str:
    """Decodes every clip of a data set.

    Args:
      root: as for `read_tables`.
      argument: as for `read_tables`.

    Returns:
      A text of a few lines: clips and locations per class, published folds, formats, and the
      fields with which a config takes the set as it is.

    Raises:
      InputError: as `read_tables`; with a line for each kind of file that is missing or bad,
        and the formats of the others.
    """
    dataset = read_tables(root, argument=argument)
    names = [clip.path for clip in dataset.clips]
    problems = file_problems(dataset.root, names)
    paths = [path for name in names if os.path.exists(path := dataset.root / name)]
    formats: dict[_Format, list[pathlib.Path]] = {}
    bad: dict[pathlib.Path, str] = {}
    for path, found in zip(paths, audio.map_files(_look, paths), strict=True):
        if isinstance(found, InputError):
            bad[path] = str(found)
        else:
            formats.setdefault(found, []).append(path)
    described = _describe_formats(dataset.root, formats)
    if bad:
        problems.append(audio.complaints(bad, len(names)))
    if problems:
        rest = ["the other files:", *described] if formats else []
        raise InputError("\n".join([*problems, *rest]))
    return "\n".join([*_describe_tables(dataset), *described])


def _look(path: pathlib.Path) -> _Format | InputError:
    """The format of a file that decodes, or what is wrong with it."""
    try:
        samples, sr = audio.decode(path)
    except InputError as error:
        return error
    return sr, samples.shape[1], round(samples.shape[0] / sr, 2)


def _describe_tables(dataset: Dataset) -> list[str]:
    n_locations = len({clip.location for clip in dataset.clips})
    n_clips, n_places = _count(len(dataset.clips), "clip"), _count(n_locations, "location")
    lines = [f"{dataset.root}: {n_clips}, {n_places}"]
    if not dataset.labelled:
        lines.append("  no scene_label: a set to be answered, not to train on")
    for label in dataset.scene_labels:
        clips = [clip for clip in dataset.clips if clip.scene_label == label]
        n_locations = len({clip.location for clip in clips})
        n_clips, n_places = _count(len(clips), "clip", 6), _count(n_locations, "location", 6)
        lines.append(f"  {label:20}{n_clips:12}{n_places}")
    if dataset.labelled and dataset.no_identifiers:
        lines.append(f"  {dataset.no_identifiers}")
    for fold, split in dataset.published_folds.items():
        lines.append(f"  fold {fold}: {len(split.train)} train, {len(split.evaluate)} evaluate")
    return lines


def _describe_formats(root: pathlib.Path, formats: dict[_Format, list[pathlib.Path]]) -> list[str]:
    """The commonest formats, with the first files of all but the commonest, and fields for all."""
    if not formats:
        return []
    lines = []
    ordered = sorted(formats.items(), key=lambda item: -len(item[1]))
    for (sr, channels, seconds), paths in ordered[:_MOST_FORMATS]:
        line = f"  {_count(len(paths), 'file')} of {seconds:g} s, {sr} Hz, "
        line += _count(channels, "channel")
        if lines:
            names = [str(path.relative_to(root)) for path in paths[:3]]
            line += f" ({', '.join(names)}{', ...' if len(paths) > 3 else ''})"
        lines.append(line)
    if others := ordered[_MOST_FORMATS:]:
        n_files = sum(len(paths) for _, paths in others)
        lengths = [seconds for (_, _, seconds), _ in others]
        lines.append(
            f"  {_count(n_files, 'file')} of {_count(len(others), 'other format')}, "
            f"{min(lengths):g} to {max(lengths):g} s"
        )
    fields = _fields(ordered[0][0], list(formats))
    return [*lines, f"  a config takes all of these with {' '.join(fields)}"]


def _fields(commonest: _Format, formats: list[_Format]) -> list[str]:
    """The fields of a config that take files of these formats."""
    _, channels, seconds = commonest
    fields = [f"--config.data.clip_seconds={seconds:g}"]
    if any(abs(other - seconds) > audio.LENGTH_TOLERANCE_S for _, _, other in formats):
        fields.append("--config.data.fit_length=True")
    if any(other != channels for _, other, _ in formats):
        channels = 0
    return [*fields, f"--config.data.channels={channels}"]


def _count(n: int, noun: str, width: int = 0) -> str:
    return f"{n:{width}} {noun}{'' if n == 1 else 's'}"
