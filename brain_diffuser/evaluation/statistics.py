"""Correlations, bootstrap intervals and the cyclic derangement of the chance control."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

BLOCK_ITEMS = 2**24  # float64 numbers of a block of features: 128 MiB


def correlations(a: Float[np.ndarray, "a features"], b: Float[np.ndarray, "b features"]) -> Float[np.ndarray, "a b"]:
    """Pearson correlation of every row of `a` with every row of `b`; 0 where a row does not vary.

    Memory: blocks of columns in float64, whatever the number of features (139,968 for AlexNet's second layer).
    """
    moments = [_moments(rows) for rows in (a, b)]
    total = np.zeros((len(a), len(b)))
    for columns in _blocks(a.shape[1], max(len(a), len(b))):
        left, right = (
            (rows[:, columns] - mean[:, None]) / scale[:, None]
            for rows, (mean, scale) in zip((a, b), moments, strict=True)
        )
        total += left @ right.T
    return total


def cyclic_derangement(n_stimuli: int, seed: int) -> Int[np.ndarray, " stimuli"]:
    """Another stimulus for every stimulus, along a seeded random circle: a control in which none keeps its own.

    Raises ValueError: a single stimulus.
    """
    if n_stimuli < 2:
        raise ValueError("a shuffled control needs other stimuli; got 1, expected at least 2")
    order = np.random.default_rng(seed).permutation(n_stimuli)
    assigned = np.empty_like(order)
    assigned[order] = np.roll(order, 1)
    return assigned


def bootstrap_ci(scores: Float[np.ndarray, " stimuli"], n_resamples: int, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over images (percentiles; images drawn with replacement)."""
    rng = np.random.default_rng(seed)
    means = [scores[rng.integers(0, len(scores), len(scores))].mean() for _ in range(n_resamples)]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of matching rows."""
    (mean_a, scale_a), (mean_b, scale_b) = _moments(a), _moments(b)
    return np.einsum("ij,ij->i", (a - mean_a[:, None]) / scale_a[:, None], (b - mean_b[:, None]) / scale_b[:, None])


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of every row, and the length of what is left, infinite where that is nothing."""
    mean, square = rows.mean(1, dtype=np.float64), np.zeros(len(rows))
    for columns in _blocks(rows.shape[1], len(rows)):
        centred = rows[:, columns] - mean[:, None]
        square += np.einsum("ij,ij->i", centred, centred)
    length = np.sqrt(square)
    return mean, np.where(length > 1e-12 * np.sqrt(rows.shape[1]) * np.abs(mean), length, np.inf)


def _blocks(n_columns: int, n_rows: int) -> Iterator[slice]:
    width = max(1, BLOCK_ITEMS // n_rows)
    return (slice(start, start + width) for start in range(0, n_columns, width))
