"""Pearson correlations, bootstrap intervals, and the pairing of the chance control.

What does not vary has no correlation: it is NaN everywhere, "not measured", never 0. Means and intervals are those of
what was measured, and tables count it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

BLOCK_ITEMS = 2**24  # float64 numbers of a block of features: 128 MiB
CONSTANT = 1e-12  # values vary if their root mean square about their mean exceeds this share of the mean: rounding


def pearson(a: Shaped[np.ndarray, "..."], b: Shaped[np.ndarray, "..."]) -> np.ndarray:
    """Pearson correlation of `a` and `b` along the first axis, in their own precision; NaN where one does not vary."""
    mean_a, mean_b = a.mean(0), b.mean(0)
    centred_a, centred_b = a - mean_a, b - mean_b
    square_a, square_b = (centred_a**2).sum(0), (centred_b**2).sum(0)
    varies = _varies(square_a, mean_a, len(a)) & _varies(square_b, mean_b, len(b))
    # of equal float32 numbers the mean is another one, by more than the rounding that `_varies` knows
    varies &= (a.max(0) > a.min(0)) & (b.max(0) > b.min(0))
    product, scale = (centred_a * centred_b).sum(0), np.sqrt(square_a * square_b)
    return np.divide(product, scale, out=np.full_like(scale, np.nan), where=varies & (scale > 0))


def pearson_of_rows(
    a: Float[np.ndarray, "rows features"], b: Float[np.ndarray, "rows features"]
) -> Float[np.ndarray, " rows"]:
    """Pearson correlation of each row of `a` with the same row of `b`, in float64; NaN where one does not vary."""
    return np.array([pearson(x.astype(np.float64), y.astype(np.float64)) for x, y in zip(a, b, strict=True)])


def correlation_matrix(
    a: Float[np.ndarray, "a features"], b: Float[np.ndarray, "b features"]
) -> Float[np.ndarray, "a b"]:
    """Pearson correlation of every row of `a` with every row of `b`; NaN where a row does not vary.

    Memory: blocks of columns in float64, whatever the number of features (139,968 for AlexNet's second layer).
    """
    moments = [_moments(rows) for rows in (a, b)]
    total = np.zeros((len(a), len(b)))
    for columns in _blocks(a.shape[1], max(len(a), len(b))):
        left, right = (
            (rows[:, columns] - mean[:, None]) / length[:, None]
            for rows, (mean, length) in zip((a, b), moments, strict=True)
        )
        total += left @ right.T
    return total


def cyclic_derangement(n_stimuli: int, seed: int) -> Int[np.ndarray, " stimuli"]:
    """Another stimulus for every stimulus, along a seeded random cycle: the shuffled pairing of the chance control.

    Raises ValueError: a single stimulus.
    """
    if n_stimuli < 2:
        raise ValueError("a shuffled pairing needs other stimuli; got 1, expected at least 2")
    order = np.random.default_rng(seed).permutation(n_stimuli)
    assigned = np.empty_like(order)
    assigned[order] = np.roll(order, 1)
    return assigned


def measured(scores: Float[np.ndarray, " stimuli"]) -> Float[np.ndarray, " measured"]:
    """The scores that were measured, without NaN.

    Raises ValueError: a score is infinite.
    """
    if np.isinf(scores).any():
        raise ValueError(
            f"score {int(np.argmax(np.isinf(scores)))} (from 0) of {len(scores)} is infinite; expected finite scores"
        )
    return scores[~np.isnan(scores)]


def mean_and_ci(
    scores: Float[np.ndarray, " stimuli"], n_resamples: int, seed: int
) -> tuple[float, tuple[float, float], int]:
    """The mean of the scores that were measured, its bootstrap interval, and their number; NaN where there is none."""
    values = measured(scores)
    if not len(values):
        return np.nan, (np.nan, np.nan), 0
    return float(values.mean()), bootstrap_ci(values, n_resamples, seed), len(values)


def bootstrap_ci(scores: Float[np.ndarray, " stimuli"], n_resamples: int, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over images (percentiles; images drawn with replacement)."""
    rng = np.random.default_rng(seed)
    means = [scores[rng.integers(0, len(scores), len(scores))].mean() for _ in range(n_resamples)]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of every row, and the length of the row less its mean, NaN where it does not vary."""
    mean, square = rows.mean(1, dtype=np.float64), np.zeros(len(rows))
    for columns in _blocks(rows.shape[1], len(rows)):
        centred = rows[:, columns] - mean[:, None]
        square += np.einsum("ij,ij->i", centred, centred)
    return mean, np.where(_varies(square, mean, rows.shape[1]), np.sqrt(square), np.nan)


def _varies(square: Any, mean: Any, n: int) -> Any:
    """Whether `n` numbers with this sum of squares about their mean differ by more than rounding."""
    return np.sqrt(square) > CONSTANT * np.sqrt(n) * np.abs(mean)


def _blocks(n_columns: int, n_rows: int) -> Iterator[slice]:
    """Spans of columns of which `n_rows` rows hold at most BLOCK_ITEMS numbers."""
    width = max(1, BLOCK_ITEMS // n_rows)
    return (slice(start, start + width) for start in range(0, n_columns, width))
