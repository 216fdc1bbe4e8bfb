"""What each region contributes to a decoded feature, alone and by its absence; as many random voxels are the control.

One covariance of the betas and one of betas with features serve every region: a ridge on some voxels is their block.
"""

import io
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import linalg

from brain_diffuser.artifacts import captions as caption_files
from brain_diffuser.artifacts import finite, hdf5, tables
from brain_diffuser.data import rois
from brain_diffuser.evaluation import statistics
from brain_diffuser.regions import optimal_patterns

SMALLEST_GROUP = 2  # stimuli with, and without, a category
CONTROLLED = ("", "_random", "_random_low", "_random_high")
COLUMNS = {
    "decoding": ("region", "voxels", *(key + word for key in ("alone", "without") for word in CONTROLLED)),
    "lesions": ("category", "stimuli", "region", "voxels", "intact", *(f"drop{word}" for word in CONTROLLED)),
}

logger = logging.getLogger(__name__)


class SharedRidge(NamedTuple):
    """What all ridges of one feature share, whatever their voxels, float32; betas are z-scored by the train stimuli."""

    test: Float[np.ndarray, "test voxels"]
    covariance: Float[np.ndarray, "voxels voxels"]
    with_features: Float[np.ndarray, "voxels columns"]
    train_features: Float[np.ndarray, "train columns"]
    """With their mean subtracted."""
    test_features: Float[np.ndarray, "test columns"]
    alpha: float
    whole: Float[np.ndarray, "voxels columns"]
    """Weights of the ridge on all voxels."""

    @classmethod
    def from_arrays(
        cls,
        betas: tuple[hdf5.StimulusArray, hdf5.StimulusArray],
        features: tuple[np.ndarray, np.ndarray],
        z_score: tuple[Float[np.ndarray, " voxels"], Float[np.ndarray, " voxels"]],
        alpha: float,
    ) -> "SharedRidge":
        """The covariances of betas with betas and with features, and the ridge on all voxels.

        Parameters
        ----------
        betas : (train, test)
        features : (train, test) arrays (stimuli, columns)
        z_score : (mean, std), arrays (voxels,)
            Of the train stimuli's betas.
        alpha : float
            The penalty of the ridge on all voxels.

        Raises
        ------
        NotFinite
            Z-scored betas, features or weights, in float32.

        Memory: two arrays of (voxels, voxels), three of (voxels, columns) and those given, in float32.
        """
        for split, columns in zip(betas, features, strict=True):
            with finite.naming("lesions", split.nsd_id):
                finite.check(split.values, "the betas", "Rerun betas.")
                finite.check(columns, "the feature", "Rerun features.")
        mean = features[0].mean(0, dtype=np.float64)
        with np.errstate(over="ignore"):
            train, test = (((split.values - z_score[0]) / z_score[1]).astype(np.float32) for split in betas)
            train_features, test_features = ((split - mean).astype(np.float32) for split in features)
        for split, z_scored, centred in zip(betas, (train, test), (train_features, test_features), strict=True):
            with finite.naming("lesions", split.nsd_id):
                finite.check(z_scored, "the z-scored betas (float32)", "Check the betas and the mask.")
                finite.check(centred, "the feature (float32)", "Check the weights of its network.")
        covariance, with_features = train.T @ train, train.T @ train_features
        whole = _solve(covariance.copy(), with_features, alpha)
        if not np.isfinite(whole).all():
            raise ValueError("the weights of the ridge on all voxels are not finite; check the betas and ridge.alpha")
        return cls(test, covariance, with_features, train_features, test_features, alpha, whole)

    def weights(self, voxels: Bool[np.ndarray, " voxels"]) -> Float[np.ndarray, "chosen columns"]:
        """The weights of the ridge on some voxels; its penalty is their share of alpha, so shrinkage stays the same."""
        system = self.covariance[np.ix_(voxels, voxels)]
        return _solve(system, self.with_features[voxels], self.alpha * float(voxels.mean()))

    def accuracy(self, predicted: Float[np.ndarray, "test columns"]) -> float:
        """Mean of the correlations, across test stimuli, of predicted and true columns.

        Columns that do not vary have none and are left out; NaN if no column is left.
        """
        correlations = statistics.measured(statistics.pearson(predicted, self.test_features))
        return float(correlations.mean()) if len(correlations) else np.nan


def _solve(system: np.ndarray, right: np.ndarray, alpha: float) -> np.ndarray:
    """(system + alpha I)^-1 right; the system is overwritten."""
    system[np.diag_indices(len(system))] += alpha
    factor = linalg.cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)  # symmetric: T spares a copy
    return linalg.cho_solve(factor, right, check_finite=False)


def read_columns(path: str | Path, n_columns: int) -> Float[np.ndarray, "stimuli columns"]:
    """At most `n_columns` columns of a feature, evenly spaced; the file passes in blocks."""
    with hdf5.reading(path, by_columns=True) as (values, nsd_id):
        total = values.shape[1]
        chosen = np.linspace(0, total - 1, min(n_columns, total)).round().astype(int)
        blocks = []
        for start in range(0, total, optimal_patterns.BLOCK_COLUMNS):
            here = chosen[(chosen >= start) & (chosen < start + optimal_patterns.BLOCK_COLUMNS)]
            blocks.append(values[:, start : start + optimal_patterns.BLOCK_COLUMNS][:, here - start])
            hdf5.check_finite(path, blocks[-1], nsd_id)
        return np.concatenate(blocks, axis=1)


def decoding(
    ridges: SharedRidge, masks: Mapping[str, Bool[np.ndarray, " voxels"]], draws: int, seed: int
) -> list[dict[str, object]]:
    """A row per region: the accuracy of its voxels alone (column `alone`), and of the brain without it (`without`).

    Alone, a ridge is fitted to the region's voxels. Without it, the ridge on all voxels gets the region at its mean.

    Parameters
    ----------
    ridges : SharedRidge
    masks : {region: boolean array (voxels,)}
    draws : int
        Random sets of as many voxels outside of the region, of which the row has the mean and the range.
    seed : int
        Of the draws.
    """
    predicted = ridges.test @ ridges.whole

    def single_region(voxels: np.ndarray) -> float:
        return ridges.accuracy(ridges.test[:, voxels] @ ridges.weights(voxels))

    def region_ablated(voxels: np.ndarray) -> float:
        return ridges.accuracy(predicted - ridges.test[:, voxels] @ ridges.whole[voxels])

    rows = []
    for name, voxels in masks.items():
        controls = random_sets(voxels, seed, name, draws)
        row: dict[str, object] = {"region": name, "voxels": int(voxels.sum())}
        for key, score in (("alone", single_region), ("without", region_ablated)):
            nothing_left = key == "without" and bool(voxels.all())
            row[key] = "" if nothing_left else _rounded(score(voxels))
            row |= _spread(key, [score(control) for control in controls])
        rows.append(row)
    return rows


def random_sets(voxels: np.ndarray, seed: int, name: str, draws: int) -> list[np.ndarray]:
    """`draws` sets of as many voxels as a region has, outside of it; none if the region has most of the brain."""
    controls = (optimal_patterns.random_voxels(voxels, seed, name, draw) for draw in range(1, draws + 1))
    return [control for control in controls if control is not None]


def mentions(captions: Mapping[int, Sequence[str]], words: Sequence[str]) -> dict[int, bool]:
    """Whether each stimulus has one of these words, as whole words, in a caption."""
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b", re.IGNORECASE)
    return {nsd_id: any(map(pattern.search, texts)) for nsd_id, texts in captions.items()}


def find_categories(
    captions: Mapping[int, Sequence[str]], words: Mapping[str, Sequence[str]], *nsd_ids: np.ndarray
) -> dict[str, Any]:
    """Whether each stimulus has each category, split by split; a category that too few have, or lack, is left out."""
    has_category = {}
    for name, of_category in words.items():
        mentioned = mentions(captions, of_category)
        splits = tuple(np.array([mentioned[stimulus] for stimulus in nsd_id.tolist()]) for nsd_id in nsd_ids)
        if min(group.sum() for split in splits for group in (split, ~split)) < SMALLEST_GROUP:
            logger.warning("category %s: fewer than %d stimuli have it, or lack it; left out", name, SMALLEST_GROUP)
        else:
            has_category[name] = splits
    return has_category


def lesions(
    ridges: SharedRidge,
    masks: Mapping[str, Bool[np.ndarray, " voxels"]],
    has_category: Mapping[str, tuple[Bool[np.ndarray, " train"], Bool[np.ndarray, " test"]]],
    draws: int,
    seed: int,
) -> list[dict[str, object]]:
    """A row per category and region: how much nearer stimuli with and without the category come by the lesion.

    In a lesion the region is at its mean.

    Decoded features are projected on the train stimuli's linear discriminant of the category (features taken as
    independent). The distance is d', the difference of means in standard deviations: `intact` of the whole brain,
    `drop` what the lesion takes from it, all of it if nothing varies any more. Both are NaN if nothing varied before.

    Parameters
    ----------
    ridges : SharedRidge
    masks : {region: boolean array (voxels,)}
    has_category : {category: (train, test)}
        Whether each stimulus has it, boolean arrays (stimuli,).
    draws : int
        Random sets of as many voxels outside of the region, of which the row has the mean and the range.
    seed : int
        Of the draws.
    """
    rows = []
    for category, (train, test) in has_category.items():
        readout = ridges.whole @ _discriminant(ridges.train_features, train)  # (voxels,)
        decoded = ridges.test @ readout
        intact = _d_prime(decoded, test)

        def drop(voxels: np.ndarray, readout=readout, decoded=decoded, intact=intact, test=test) -> float:
            left = _d_prime(decoded - ridges.test[:, voxels] @ readout[voxels], test)
            return intact - (0.0 if np.isnan(left) else left)

        for name, voxels in masks.items():
            controls = [drop(control) for control in random_sets(voxels, seed, name, draws)]
            rows.append(
                {"category": category, "stimuli": int(test.sum()), "region": name, "voxels": int(voxels.sum())}
                | {"intact": _rounded(intact), "drop": _rounded(drop(voxels))}
                | _spread("drop", controls)
            )
    return rows


def analyse(
    betas: tuple[str | Path, str | Path],
    features: tuple[str | Path, str | Path],
    kernel: str | Path,
    masks: Mapping[str, Bool[np.ndarray, " voxels"]],
    captions: str | Path,
    *,
    alpha: float,
    columns: int,
    categories: Mapping[str, Sequence[str]],
    draws: int,
    seed: int,
) -> tuple[Float[np.ndarray, " voxels"], dict[str, list[dict[str, object]]]]:
    """The norm of each voxel's weights, and the tables of `decoding` and `lesions`, of one feature.

    Parameters
    ----------
    betas, features : (train, test) paths
    kernel : path
        The ridge kernel, with the betas' mean and std.
    masks : {region: boolean array (voxels,)}
    captions : path
        JSON {nsd_id: captions}.
    alpha : float
        The feature's ridge penalty.
    columns : int
        How many columns of the feature are decoded.
    categories : {category: words}
    draws, seed : int
        As of `decoding`.

    Raises
    ------
    ValueError
        Betas and features of different stimuli.
    """
    splits = hdf5.load(betas[0]), hdf5.load(betas[1])
    for array, beta_path, path in zip(splits, betas, features, strict=True):
        with hdf5.reading(path) as (_, nsd_id):
            hdf5.check_aligned(beta_path, array.nsd_id, path, nsd_id)
    with hdf5.opening(kernel) as file:
        z_score = np.asarray(file["betas_mean"]), np.asarray(file["betas_std"])
    chosen = read_columns(features[0], columns), read_columns(features[1], columns)
    ridges = SharedRidge.from_arrays(splits, chosen, z_score, alpha)
    has_category = find_categories(caption_files.read(captions), categories, *(array.nsd_id for array in splits))
    whole_brain = {rois.ALL: np.ones(len(z_score[0]), bool)}
    by_name = {
        "decoding": decoding(ridges, whole_brain | dict(masks), draws, seed),
        "lesions": lesions(ridges, masks, has_category, draws, seed),
    }
    return weight_norms(ridges), by_name


def write(folder: Path, norms: np.ndarray, by_name: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
    """Write what `analyse` returned: weight_norms.npy, decoding.csv and lesions.csv."""
    file = io.BytesIO()  # numpy does not say why it cannot write to a disk
    np.save(file, norms)
    (folder / "weight_norms.npy").write_bytes(file.getvalue())
    for name, rows in by_name.items():
        tables.write_csv(folder / f"{name}.csv", COLUMNS[name], (row.values() for row in rows))


def read_norms(path: str | Path) -> Float[np.ndarray, " voxels"]:
    """The norms that `write` wrote. Raises FileNotFoundError, ValueError: they are missing, damaged or not finite."""
    fix = hdf5.rerun(Path(path).parent)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing; expected the weight norms of voxels. {fix}")
    try:
        with open(path, "rb") as stream:
            norms = np.load(stream, allow_pickle=False)
    except Exception as error:  # a damaged header makes numpy stumble in as many ways as there are bytes
        raise ValueError(f"{path} cannot be read as an array ({error}). {fix}") from error
    if norms.ndim != 1 or norms.dtype.kind != "f" or not np.isfinite(norms).all():
        raise ValueError(f"{path} has {norms.dtype} {norms.shape}; expected a finite number for each voxel. {fix}")
    return norms


def weight_norms(ridges: SharedRidge) -> Float[np.ndarray, " voxels"]:
    """L1 norm of each voxel's weights over the columns, in the features' units per standard deviation of the voxel.

    Source: Ozcelik & VanRullen 2023, arXiv 2303.05334 (which voxels a feature is decoded from).
    """
    return np.abs(ridges.whole).sum(1)


def percentiles(norms: Float[np.ndarray, " voxels"]) -> Float[np.ndarray, " voxels"]:
    """The percentile rank of each voxel's norm: the share of voxels, in percent, whose norm is not larger."""
    return 100 * np.searchsorted(np.sort(norms), norms, side="right") / len(norms)


def _discriminant(features: Float[np.ndarray, "train columns"], has_it: Bool[np.ndarray, " train"]) -> np.ndarray:
    """Difference of the two groups' means over their pooled variance; 0 where nothing varies."""
    with_it, without_it = features[has_it], features[~has_it]
    variance = (with_it.var(0) * len(with_it) + without_it.var(0) * len(without_it)) / len(features)
    difference = with_it.mean(0) - without_it.mean(0)
    return np.divide(difference, variance, out=np.zeros_like(variance), where=variance > 0)


def _d_prime(scores: Float[np.ndarray, " test"], has_it: Bool[np.ndarray, " test"]) -> float:
    """Difference of two groups' means in standard deviations, whose square is the mean of their variances.

    NaN if no score varies.
    """
    spread = np.sqrt((scores[has_it].var(ddof=1) + scores[~has_it].var(ddof=1)) / 2)
    return float((scores[has_it].mean() - scores[~has_it].mean()) / spread) if spread > 0 else np.nan


def _spread(key: str, controls: Sequence[float]) -> dict[str, object]:
    """Mean and range of the random controls, empty if there are none."""
    summary = (np.mean(controls), np.min(controls), np.max(controls)) if controls else ("", "", "")
    return {
        f"{key}_{word}": _rounded(float(value)) if controls else ""
        for word, value in zip(("random", "random_low", "random_high"), summary, strict=True)
    }


def _rounded(value: float) -> float:
    return round(value, 4)
