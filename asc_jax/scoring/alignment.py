"""Runs side by side: the same clips in the same order, or a refusal."""

from collections.abc import Mapping, Sequence

import numpy as np

from asc_jax.data.clips import Clip
from asc_jax.runtime.errors import InputError


def align(lists: Mapping[str, Sequence[Clip]]) -> dict[str, np.ndarray]:
    """The order that puts every run's clips by path.

    Runs list the same clips in different orders: out-of-fold clips come fold by fold.

    Args:
      lists: run -> its clips.

    Returns:
      run -> (n,) indices into its clips.

    Raises:
      InputError: a clip is missing in a run, or has another label or location there, naming
        the first such clip and both runs.
    """
    (first, clips), *others = lists.items()
    ours = _by_path(first, clips)
    orders = {first: np.array([ours[path] for path in sorted(ours)])}
    for name, theirs in others:
        index = _by_path(name, theirs)
        for path in sorted(ours.keys() | index.keys()):
            if path not in index or path not in ours:
                here, there = (first, name) if path in ours else (name, first)
                raise InputError(
                    f"is among the clips of {here}, not of {there}; compare runs that were scored "
                    "on the same clips",
                    path=path,
                )
            a, b = clips[ours[path]], theirs[index[path]]
            for field in ("scene_label", "location"):
                if (one := getattr(a, field)) != (other := getattr(b, field)):
                    raise InputError(
                        f"its {field} is {one!r} in {first} and {other!r} in {name}; compare "
                        "runs that were scored on the same clips",
                        path=path,
                    )
        orders[name] = np.array([index[path] for path in sorted(index)])
    return orders


def _by_path(name: str, clips: Sequence[Clip]) -> dict[str, int]:
    index = {clip.path: i for i, clip in enumerate(clips)}
    if len(index) < len(clips):
        double = next(clip.path for i, clip in enumerate(clips) if index[clip.path] != i)
        raise InputError(f"is listed twice in {name}; evaluate the run again", path=double)
    return index


def refuse_other_labels(labels: Mapping[str, Sequence[str]]) -> None:
    """Logits mean the same class in every run, or they are not combined.

    Args:
      labels: run -> its classes, in the order of the logits.

    Raises:
      InputError: naming the first class that differs and both runs.
    """
    (first, ours), *others = labels.items()
    for name, theirs in others:
        if list(theirs) != list(ours):
            differing = sorted(set(ours) ^ set(theirs))
            what = f"{differing[0]!r} is in one only" if differing else "their order differs"
            raise InputError(
                f"has other scene labels than {first} ({what}); use runs of one data set",
                path=name,
            )


def refuse_shared_locations(fitted: Sequence[Clip], scored: Sequence[Clip]) -> None:
    """Weights that were fitted at a location are not scored there.

    Raises:
      InputError: naming the first scored clip whose location was fitted on.
    """
    seen = {clip.location for clip in fitted}
    for clip in scored:
        if clip.location in seen:
            raise InputError(
                f"weights were fitted at its location {clip.location!r}; score other clips, or fit "
                "the weights without this location",
                path=clip.path,
            )
