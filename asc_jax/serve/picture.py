"""A recording's features as a picture: time to the right, bands upwards."""

import io
from collections.abc import Sequence

import numpy as np

_COLUMNS = 1000  # the most
_SHARES = (2, 99.9)  # percentiles that become the darkest and the lightest colour


def draw(
    features: Sequence[np.ndarray], starts: np.ndarray, window: float, seconds: float
) -> bytes:
    """Draws windows of a recording, one after the other, as a PNG with a row per band.

    Args:
      features: (N, M) of each window.
      starts: (n) seconds at which they begin.
      window: seconds that each has, what is filled with zeros included.
      seconds: where the recording ends.
    """
    from matplotlib.image import imsave

    n_frames = len(features[0])
    centres = (np.arange(n_frames) + 0.5) * (window / n_frames)
    times = (starts[:, None] + centres).ravel()
    inside = times < seconds
    inside[0] = True  # of a recording that is shorter than a frame
    frames = np.concatenate(features)[inside]
    n_columns = int(np.clip(seconds / window * n_frames, 1, _COLUMNS))
    column = np.minimum(times[inside] / seconds * n_columns, n_columns - 1).astype(int)
    sums = np.zeros((n_columns, frames.shape[1]))
    np.add.at(sums, column, frames)
    counts = np.bincount(column, minlength=n_columns)[:, None]
    picture = (sums / np.maximum(counts, 1))[counts[:, 0] > 0].T
    sounding = picture[picture > picture.min()]  # digital silence is far below all else
    low, high = np.percentile(sounding if sounding.size else picture, _SHARES)
    content = io.BytesIO()
    imsave(content, picture, vmin=low, vmax=high, cmap="magma", origin="lower", format="png")
    return content.getvalue()
