"""Stage 6: what each region contributes, alone and by its absence, beside as many voxels drawn at random.

One covariance of the betas and one of betas with features serve every region: a ridge on some voxels is their block.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import linalg

from brain_diffuser.artifacts import hdf5
from brain_diffuser.regions import optimal_patterns

SMALLEST_GROUP = 2  # stimuli with and without a category
CONTROLLED = ("", "_random", "_random_low", "_random_high")
COLUMNS = {
    "decoding": ("region", "voxels", *(key + word for key in ("alone", "without") for word in CONTROLLED)),
    "lesions": ("category", "stimuli", "region", "voxels", "intact", *(f"drop{word}" for word in CONTROLLED)),
}

logger = logging.getLogger(__name__)


class SharedRidge(NamedTuple):
    """What every ridge of one feature on any voxels shares, float32. Betas are z-scored by the train stimuli."""

    test: Float[np.ndarray, "test voxels"]
    covariance: Float[np.ndarray, "voxels voxels"]
    with_features: Float[np.ndarray, "voxels columns"]
    train_features: Float[np.ndarray, "train columns"]
    """Less their mean."""
    test_features: Float[np.ndarray, "test columns"]
    alpha: float
    whole: Float[np.ndarray, "voxels columns"]
    """Weights of the ridge on all voxels."""

    @classmethod
    def of(
        cls,
        betas: tuple[hdf5.StimulusArray, hdf5.StimulusArray],
        features: tuple[np.ndarray, np.ndarray],
        z_score: tuple[Float[np.ndarray, " voxels"], Float[np.ndarray, " voxels"]],
        alpha: float,
    ) -> "SharedRidge":
        """From betas and feature columns of (train, test) stimuli, and the betas' mean and std.

        Memory: two arrays of (voxels, voxels), three of (voxels, columns) and those given, in float32.
        """
        train, test = (((each.values - z_score[0]) / z_score[1]).astype(np.float32) for each in betas)
        mean = features[0].mean(0, dtype=np.float64)
        train_features, test_features = ((each - mean).astype(np.float32) for each in features)
        covariance, with_features = train.T @ train, train.T @ train_features
        whole = _solve(covariance.copy(), with_features, alpha)
        return cls(test, covariance, with_features, train_features, test_features, alpha, whole)

    def weights(self, voxels: Bool[np.ndarray, " voxels"]) -> Float[np.ndarray, "chosen columns"]:
        """Of the ridge on these voxels; its penalty is their share of alpha, so shrinkage does not depend on size."""
        system = self.covariance[np.ix_(voxels, voxels)]
        return _solve(system, self.with_features[voxels], self.alpha * float(voxels.mean()))

    def accuracy(self, predicted: Float[np.ndarray, "test columns"]) -> float:
        """Mean over columns of the correlation, across test stimuli, of predicted and true; a constant column is 0."""
        ours, theirs = (each - each.mean(0) for each in (predicted, self.test_features))
        spread = np.sqrt((ours**2).sum(0) * (theirs**2).sum(0))
        return float(np.divide((ours * theirs).sum(0), spread, out=np.zeros_like(spread), where=spread > 0).mean())


def _solve(system: np.ndarray, right: np.ndarray, alpha: float) -> np.ndarray:
    """(system + alpha I)^-1 right; the system is spent."""
    system[np.diag_indices(len(system))] += alpha
    factor = linalg.cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)  # symmetric: T spares a copy
    return linalg.cho_solve(factor, right, check_finite=False)


def read_columns(path: str | Path, n_columns: int) -> Float[np.ndarray, "stimuli columns"]:
    """At most `n_columns` columns of a feature, spread evenly; the file passes in blocks."""
    with hdf5.reading(path, by_columns=True) as (values, _):
        total = values.shape[1]
        chosen = np.linspace(0, total - 1, min(n_columns, total)).round().astype(int)
        blocks = []
        for start in range(0, total, optimal_patterns.BLOCK_COLUMNS):
            here = chosen[(chosen >= start) & (chosen < start + optimal_patterns.BLOCK_COLUMNS)]
            blocks.append(values[:, start : start + optimal_patterns.BLOCK_COLUMNS][:, here - start])
        return np.concatenate(blocks, axis=1)


def decoding(
    ridges: SharedRidge, masks: Mapping[str, Bool[np.ndarray, " voxels"]], draws: int, seed: int
) -> list[dict[str, object]]:
    """A row per region: accuracy of a ridge on its voxels alone, and of the whole brain's with the region at its mean.

    Both beside the mean and the range of as many voxels drawn at random outside of the region, `draws` times.
    """
    predicted = ridges.test @ ridges.whole

    def alone(voxels: np.ndarray) -> float:
        return ridges.accuracy(ridges.test[:, voxels] @ ridges.weights(voxels))

    def without(voxels: np.ndarray) -> float:
        return ridges.accuracy(predicted - ridges.test[:, voxels] @ ridges.whole[voxels])

    rows = []
    for name, voxels in masks.items():
        controls = random_sets(voxels, seed, name, draws)
        row: dict[str, object] = {"region": name, "voxels": int(voxels.sum())}
        for key, score in (("alone", alone), ("without", without)):
            nothing_left = key == "without" and bool(voxels.all())
            row[key] = "" if nothing_left else _rounded(score(voxels))
            row |= _spread(key, [score(control) for control in controls])
        rows.append(row)
    return rows


def random_sets(voxels: np.ndarray, seed: int, name: str, draws: int) -> list[np.ndarray]:
    """As many voxels as a region has, from outside of it, `draws` times; none if the region has most of the brain."""
    found = (optimal_patterns.random_voxels(voxels, seed, name, draw) for draw in range(1, draws + 1))
    return [each for each in found if each is not None]


def shows(captions: Mapping[int, Sequence[str]], words: Sequence[str]) -> dict[int, bool]:
    """Which stimuli have one of these words, as whole words, in a caption."""
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b", re.IGNORECASE)
    return {nsd_id: any(map(pattern.search, texts)) for nsd_id, texts in captions.items()}


def categories(
    captions: Mapping[int, Sequence[str]], words: Mapping[str, Sequence[str]], *nsd_ids: np.ndarray
) -> dict[str, tuple[np.ndarray, ...]]:
    """Which stimuli of each split show each category; one that fewer than two show, or lack, is left out."""
    found = {}
    for name, of_category in words.items():
        shown = shows(captions, of_category)
        splits = tuple(np.array([shown[each] for each in nsd_id.tolist()]) for nsd_id in nsd_ids)
        if min(each.sum() for split in splits for each in (split, ~split)) < SMALLEST_GROUP:
            logger.warning("category %s: fewer than %d stimuli show it, or lack it; left out", name, SMALLEST_GROUP)
        else:
            found[name] = splits
    return found


def lesions(
    ridges: SharedRidge,
    masks: Mapping[str, Bool[np.ndarray, " voxels"]],
    shown: Mapping[str, tuple[Bool[np.ndarray, " train"], Bool[np.ndarray, " test"]]],
    draws: int,
    seed: int,
) -> list[dict[str, object]]:
    """A row per category and region: how far decoded stimuli with and without the category lie apart, and how much
    nearer once the region is at its mean (`drop`), beside as many random voxels at theirs.

    Decoded features are read along the train stimuli's linear discriminant of the category (features taken as
    independent); the distance is d', the difference of means in standard deviations.
    """
    rows = []
    for category, (train, test) in shown.items():
        readout = ridges.whole @ _discriminant(ridges.train_features, train)  # (voxels,)
        decoded = ridges.test @ readout
        intact = _d_prime(decoded, test)

        def drop(voxels: np.ndarray, readout=readout, decoded=decoded, intact=intact, test=test) -> float:
            return intact - _d_prime(decoded - ridges.test[:, voxels] @ readout[voxels], test)

        for name, voxels in masks.items():
            controls = [drop(control) for control in random_sets(voxels, seed, name, draws)]
            rows.append(
                {"category": category, "stimuli": int(test.sum()), "region": name, "voxels": int(voxels.sum())}
                | {"intact": _rounded(intact), "drop": _rounded(drop(voxels))}
                | _spread("drop", controls)
            )
    return rows


def weight_norms(ridges: SharedRidge) -> Float[np.ndarray, " voxels"]:
    """L1 norm of each voxel's weights, over the columns, in features' units per standard deviation of the voxel.

    Source: Ozcelik & VanRullen 2023, arXiv 2303.05334 (which voxels a feature is decoded from).
    """
    return np.abs(ridges.whole).sum(1)


def percentiles(norms: Float[np.ndarray, " voxels"]) -> Float[np.ndarray, " voxels"]:
    """The share of voxels, in percent, whose norm is not larger."""
    return 100 * np.searchsorted(np.sort(norms), norms, side="right") / len(norms)


def _discriminant(features: Float[np.ndarray, "train columns"], shown: Bool[np.ndarray, " train"]) -> np.ndarray:
    """Difference of the two groups' means over their pooled variance; 0 where nothing varies."""
    with_it, without_it = features[shown], features[~shown]
    variance = (with_it.var(0) * len(with_it) + without_it.var(0) * len(without_it)) / len(features)
    difference = with_it.mean(0) - without_it.mean(0)
    return np.divide(difference, variance, out=np.zeros_like(variance), where=variance > 0)


def _d_prime(scores: Float[np.ndarray, " test"], shown: Bool[np.ndarray, " test"]) -> float:
    """Difference of two groups' means in standard deviations, the mean of their variances."""
    spread = np.sqrt((scores[shown].var(ddof=1) + scores[~shown].var(ddof=1)) / 2)
    return float((scores[shown].mean() - scores[~shown].mean()) / spread) if spread > 0 else 0.0


def _spread(key: str, found: Sequence[float]) -> dict[str, object]:
    """Mean and range of the random controls, empty if there are none."""
    summary = (np.mean(found), np.min(found), np.max(found)) if found else ("", "", "")
    return {
        f"{key}_{word}": _rounded(float(value)) if found else ""
        for word, value in zip(("random", "random_low", "random_high"), summary, strict=True)
    }


def _rounded(value: float) -> float:
    return round(value, 4)
