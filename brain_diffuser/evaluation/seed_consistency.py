"""How much reconstructions of a stimulus with other seeds resemble each other, and the stimulus."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float, UInt8

from brain_diffuser.artifacts import tables
from brain_diffuser.evaluation import pixels, registry, statistics

PerImage = Float[np.ndarray, " stimuli"]
COLUMNS = ("features", "measure", "mean", "low", "high", "repeats", "n")


def measure(
    repeats: Sequence[UInt8[np.ndarray, "stimuli _ _ 3"]],
    stimuli: UInt8[np.ndarray, "stimuli height width 3"],
    scorers: Iterable[str],
    *,
    protocol: str,
    load: Callable[[str], registry.EvaluationNetwork],
) -> dict[str, dict[str, PerImage]]:
    """The measures of `feature_consistency` for each metric of some scorers, by the metric's name.

    Parameters
    ----------
    repeats : sequence of uint8 arrays (stimuli, height, width, 3)
        Reconstructions with different seeds.
    stimuli : uint8 array (stimuli, height, width, 3)
    scorers : names of scorers
    protocol : "brain_diffuser" or "mindeye"
    load : name -> EvaluationNetwork
        How an evaluation network is loaded; one is held at a time.

    Raises
    ------
    ValueError
        Fewer than two repeats.
    """
    measures = {}
    for name in scorers:
        if not registry.is_network(name):
            measures |= pixel_consistency(name, repeats, stimuli, protocol)
            continue
        network = load(name)
        true, predicted = network.features(stimuli), [network.features(images) for images in repeats]
        for metric in true:
            measures[metric] = feature_consistency([features[metric] for features in predicted], true[metric])
    return measures


def feature_consistency(
    repeats: Sequence[Float[np.ndarray, "stimuli features"]], stimuli: Float[np.ndarray, "stimuli features"]
) -> dict[str, PerImage]:
    """Per image: correlation between repeats (mean over pairs) and with the stimulus; bias and variance.

    `with_stimulus` is the mean over repeats, `worst` the lowest, `spread` the standard deviation (ddof 1). The mean
    squared error of the repeats is that of their mean, `bias`, plus their scatter about it, `variance`, both as shares
    of the variance of the stimuli's features. An image is NaN where features that do not vary have no correlation.

    Raises ValueError: fewer than two repeats.
    Source: consistency of Li et al. 2024 (NeuralDiffuser), arXiv 2402.13809, which gives no formula.
    """
    if len(repeats) < 2:
        raise ValueError(f"consistency compares repeats; got {len(repeats)}, expected at least 2")
    between = [statistics.pearson_of_rows(a, b) for a, b in combinations(repeats, 2)]
    with_stimulus = [statistics.pearson_of_rows(repeat, stimuli) for repeat in repeats]
    return _summary(between, with_stimulus) | bias_and_variance(repeats, stimuli)


def pixel_consistency(
    scorer: str, repeats: Sequence[np.ndarray], stimuli: np.ndarray, protocol: str
) -> dict[str, dict[str, PerImage]]:
    """The same for each metric of a pixel scorer; bias and variance are those of the pixels and come with `pix_corr`.

    For bias and variance the images are resized to the stimuli.
    """
    between = [registry.score_pixels(scorer, a, b, protocol) for a, b in combinations(repeats, 2)]
    with_stimulus = [registry.score_pixels(scorer, stimuli, repeat, protocol) for repeat in repeats]
    measures = {
        name: _summary([pair[name] for pair in between], [scores[name] for scores in with_stimulus])
        for name in with_stimulus[0]
    }
    if "pix_corr" in measures:
        resized = [
            pixels.resize_like(stimuli, repeat).reshape(len(stimuli), -1).astype(np.float32) for repeat in repeats
        ]
        measures["pix_corr"] |= bias_and_variance(resized, stimuli.reshape(len(stimuli), -1).astype(np.float32))
    return measures


def bias_and_variance(
    repeats: Sequence[Float[np.ndarray, "stimuli features"]], stimuli: Float[np.ndarray, "stimuli features"]
) -> dict[str, PerImage]:
    """The parts of the mean squared error of each image's repeats, as shares of the stimuli's variance over images.

    They are NaN if the stimuli do not vary.
    """
    mean = np.mean(repeats, axis=0, dtype=np.float64)
    total = stimuli.var(0, dtype=np.float64).mean() or np.nan
    scatter = np.mean([((repeat - mean) ** 2).mean(1) for repeat in repeats], axis=0)
    return {"bias": ((mean - stimuli) ** 2).mean(1) / total, "variance": scatter / total}


def tabulate(
    measures: Mapping[str, Mapping[str, PerImage]], *, n_repeats: int, n_resamples: int, seed: int
) -> list[tuple]:
    """A row of COLUMNS for each metric and measure: the mean over images and its 95 % bootstrap interval.

    `n` counts the images that were measured.
    """
    rows = []
    for metric, by_measure in measures.items():
        for name, scores in by_measure.items():
            mean, interval, n = statistics.mean_and_ci(scores, n_resamples, seed)
            numbers = (tables.formatted(number, ".4f") for number in (mean, *interval))
            rows.append((metric, name, *numbers, n_repeats, n))
    return rows


def _summary(between: Sequence[PerImage], with_stimulus: Sequence[PerImage]) -> dict[str, PerImage]:
    return {
        "between_repeats": np.mean(between, axis=0),
        "with_stimulus": np.mean(with_stimulus, axis=0),
        "worst": np.min(with_stimulus, axis=0),
        "spread": np.std(with_stimulus, axis=0, ddof=1),
    }
