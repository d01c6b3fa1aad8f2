"""Numbers as pages and tables write them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from asc_jax.stats.comparison import Comparison
from asc_jax.stats.scores import Score

DASH = "\N{EN DASH}"  # between the ends of an interval, and where there is no number
MINUS = "\N{MINUS SIGN}"


def percent(fraction: float | None) -> str:
    """Writes a fraction as percent with one decimal, without the sign; a dash for none or NaN."""
    if fraction is None or not math.isfinite(fraction):
        return DASH
    return f"{100 * fraction:.1f}"


def interval(score: Mapping | Score) -> str:
    """Writes the interval of a score in percent, `73.9` to `78.8`; "" where it has none."""
    fields = score if isinstance(score, Mapping) else vars(score)
    ends = percent(fields.get("low")), percent(fields.get("high"))
    return "" if DASH in ends else DASH.join(ends)


def points(fraction: float) -> str:
    """Writes a difference in percentage points with its sign and one decimal."""
    rounded = f"{abs(100 * fraction):.1f}"
    sign = "" if rounded == "0.0" else "+" if fraction > 0 else MINUS
    return sign + rounded


def p_value(p: float) -> str:
    """Writes a p value to three places; `< 0.001` below that."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def spread(found: Comparison, between: str = " to ") -> str:
    """Writes the interval of a difference in percentage points."""
    return f"{points(found.low)}{between}{points(found.high)}"


def quantity(number: float | None) -> str:
    """Writes a number as a reader says it: 1.37 G, 14.59 M, 2,945; a dash for none."""
    if number is None:
        return DASH
    for size, prefix in ((1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.2f} {prefix}"
    return f"{number:,}" if isinstance(number, int) else f"{number:,.1f}"


def count(number: int | None, noun: str, space: str = "\N{NO-BREAK SPACE}") -> str:
    """Writes number and noun, `1 clip` or `2,518 clips`, kept together; "" without a number."""
    plural = "" if number == 1 else "s"
    return "" if number is None else f"{number:,}{space}{noun}{plural}"


def size(n_clips: int, n_locations: int) -> str:
    """Writes `63 clips, 21 locations` for a terminal."""
    return f"{count(n_clips, 'clip', ' ')}, {count(n_locations, 'location', ' ')}"


def duration(seconds: float | None) -> str:
    """Writes seconds in the two largest units that matter: 13 min 32 s, 5 h 07 min."""
    if seconds is None:
        return DASH
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def row_shares(confusion: Sequence[Sequence[float]] | np.ndarray) -> np.ndarray:
    """Divides (K, K) counts by the sums of their rows; a row without clips gives zeros."""
    counts = np.asarray(confusion)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def sentence(words: str) -> str:
    """Gives words a capital and a full stop; "" stays as it is."""
    return words and words[0].upper() + words[1:].removesuffix(".") + "."
