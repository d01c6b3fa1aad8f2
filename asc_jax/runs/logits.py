"""`logits.npz`: what a run's fold models said of lists of clips, written and read without JAX."""

import dataclasses
import io
import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from asc_jax.data.clips import Clip
from asc_jax.runtime.errors import InputError
from asc_jax.runtime.files import write_whole

_CLIP_FIELDS = ("path", "scene_label", "location", "city", "device")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the fold models said of one list of clips.

    Attributes:
      name: of the list; it names its files too.
      title: for a reader.
      description: who scored what.
      clips: the list.
      logits: (n, K) where each clip was seen by one model, (F, n, K) by every fold's.
      folds: (n,) the number of the fold whose model saw each clip, or (F,) of all folds.
      root: the folder that the clips' paths are relative to; None where it is not known.
    """

    name: str
    title: str
    description: str
    clips: tuple[Clip, ...]
    logits: np.ndarray
    folds: np.ndarray
    root: pathlib.Path | None = None

    @property
    def out_of_fold(self) -> bool:
        """Whether each clip was seen by one model only."""
        return self.logits.ndim == 2

    @property
    def labelled(self) -> bool:
        return bool(self.clips[0].scene_label)


def refuse_non_finite(predictions: Predictions, source: pathlib.Path) -> None:
    """Refuses logits that no answer can be made of.

    Args:
      predictions: the list.
      source: the run or the file that they are of.

    Raises:
      InputError: naming the list, the first clips with such logits, and their folds.
    """
    finite = np.isfinite(predictions.logits).all(axis=-1)  # (n,) or (F, n)
    if finite.all():
        return
    bad = np.flatnonzero(~finite.reshape(-1, len(predictions.clips)).all(axis=0))
    folds = predictions.folds[~finite if predictions.out_of_fold else ~finite.all(axis=1)]
    shown = ", ".join(predictions.clips[i].path for i in bad[:3]) + ", ..." * (len(bad) > 3)
    raise InputError(
        f"list {predictions.name!r}: the logits of {len(bad)} of {len(predictions.clips)} "
        f"clips are not finite ({shown}; fold {', '.join(map(str, np.unique(folds)))}); "
        "correct these files if they are few, else train again with a smaller "
        "optimizer.lr, and evaluate",
        path=source,
    )


def write_logits(
    path: pathlib.Path, predictions: Sequence[Predictions], scene_labels: Sequence[str]
) -> None:
    """Writes all logits with their clips, so that ensembles can be tried without a device.

    Args:
      path: of the .npz; per list NAME it holds NAME/logits, NAME/fold, and NAME/path,
        NAME/scene_label, NAME/location, NAME/city and NAME/device; see `Predictions`.
      predictions: the lists.
      scene_labels: the classes, in the order of the logits.

    Raises:
      InputError: the file cannot be written.
    """
    arrays = {"scene_labels": np.array(scene_labels)}
    for one in predictions:
        arrays[f"{one.name}/logits"] = one.logits
        for field in _CLIP_FIELDS:
            arrays[f"{one.name}/{field}"] = np.array([getattr(clip, field) for clip in one.clips])
        arrays[f"{one.name}/fold"] = one.folds
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(path, content.getvalue())


def read_logits(path: pathlib.Path) -> tuple[dict[str, Predictions], tuple[str, ...]]:
    """Reads what `write_logits` wrote.

    Returns:
      name -> the list, with its name as title and no description; and the classes.

    Raises:
      InputError: the file is not there or cannot be read, or holds logits that are not finite.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes())) as stored:
            arrays = dict(stored)
        labels = tuple(arrays.pop("scene_labels").tolist())
        names = dict.fromkeys(key.rsplit("/", 1)[0] for key in arrays)
        lists = {
            name: Predictions(
                name,
                name,
                "",
                _read_clips(arrays, name),
                arrays[f"{name}/logits"],
                arrays[f"{name}/fold"],
            )
            for name in names
        }
        for one in lists.values():
            _check_shapes(one, len(labels))
    except FileNotFoundError:
        raise InputError("not found; run asc-jax evaluate on this folder", path=path) from None
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error):
        raise InputError("cannot be read; run asc-jax evaluate again", path=path) from None
    for one in lists.values():
        refuse_non_finite(one, path)
    return lists, labels


def _check_shapes(one: Predictions, n_classes: int) -> None:
    """Raises ValueError where a list's arrays are not those of `Predictions`."""
    n = len(one.clips)
    shape = (n, n_classes) if one.out_of_fold else (len(one.folds), n, n_classes)
    of_folds = (n,) if one.out_of_fold else shape[:1]
    if not n or one.logits.shape != shape or one.folds.shape != of_folds:
        raise ValueError(f"{one.name}: the shapes of its arrays contradict each other")
    if one.logits.dtype.kind != "f" or one.folds.dtype.kind != "i":
        raise ValueError(f"{one.name}: its arrays hold no numbers")


def _read_clips(arrays: Mapping[str, np.ndarray], name: str) -> tuple[Clip, ...]:
    columns = (arrays[f"{name}/{field}"].tolist() for field in _CLIP_FIELDS)
    return tuple(Clip(*row) for row in zip(*columns, strict=True))
