"""Stage 6: how much repeated reconstructions of a stimulus resemble each other, and it."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float

from brain_diffuser.evaluation import metrics, statistics

PerImage = Float[np.ndarray, " stimuli"]


def of_features(
    repeats: Sequence[Float[np.ndarray, "stimuli features"]], stimuli: Float[np.ndarray, "stimuli features"]
) -> dict[str, PerImage]:
    """Per image: correlation between repeats (mean over pairs) and with the stimulus; bias and variance.

    `with_stimulus` is the mean over repeats, `worst` the lowest, `spread` the standard deviation (ddof 1). The mean
    squared error of the repeats is that of their mean, `bias`, plus their scatter about it, `variance`, both as shares
    of the variance of the stimuli's features.

    Raises ValueError: fewer than two repeats.
    Source: consistency of Li et al. 2024 (NeuralDiffuser), arXiv 2402.13809, which gives no formula.
    """
    if len(repeats) < 2:
        raise ValueError(f"consistency compares repeats; got {len(repeats)}, expected at least 2")
    between = [_correlation(a, b) for a, b in combinations(repeats, 2)]
    return _summary(between, [_correlation(each, stimuli) for each in repeats]) | bias_and_variance(repeats, stimuli)


def of_pixels(repeats: Sequence[np.ndarray], stimuli: np.ndarray, protocol: str) -> dict[str, dict[str, PerImage]]:
    """The same for each pixel metric; bias and variance are those of the pixels and come with `pix_corr`.

    The images are resized to the stimuli for bias and variance.
    """
    pairs = [metrics.pixel_metrics(a, b, protocol) for a, b in combinations(repeats, 2)]
    own = [metrics.pixel_metrics(stimuli, each, protocol) for each in repeats]
    found = {
        name: _summary([pair[name] for pair in pairs], [each[name] for each in own]) for name in metrics.PIXEL_METRICS
    }
    flat = [metrics.resize_like(stimuli, each).reshape(len(stimuli), -1).astype(np.float32) for each in repeats]
    found["pix_corr"] |= bias_and_variance(flat, stimuli.reshape(len(stimuli), -1).astype(np.float32))
    return found


def bias_and_variance(
    repeats: Sequence[Float[np.ndarray, "stimuli features"]], stimuli: Float[np.ndarray, "stimuli features"]
) -> dict[str, PerImage]:
    """Mean squared error of each image's repeats, split; as shares of the stimuli's variance over images."""
    mean = np.mean(repeats, axis=0, dtype=np.float64)
    total = stimuli.var(0, dtype=np.float64).mean()
    scatter = np.mean([((each - mean) ** 2).mean(1) for each in repeats], axis=0)
    return {"bias": ((mean - stimuli) ** 2).mean(1) / total, "variance": scatter / total}


def _summary(between: Sequence[PerImage], own: Sequence[PerImage]) -> dict[str, PerImage]:
    return {
        "between_repeats": np.mean(between, axis=0),
        "with_stimulus": np.mean(own, axis=0),
        "worst": np.min(own, axis=0),
        "spread": np.std(own, axis=0, ddof=1),
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> PerImage:
    """Pearson correlation of matching rows."""
    return np.array([statistics.correlations(x[None], y[None])[0, 0] for x, y in zip(a, b, strict=True)])
