"""Stage 6: how much a reconstruction resembles its stimulus, one number per image.

Resize filter, colour range and SSIM variant change these numbers; they are fixed here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter1d
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from brain_diffuser import pictures

Images = UInt8[np.ndarray, "stimuli height width 3"]
Reconstructions = UInt8[np.ndarray, "stimuli other_height other_width 3"]
PerImage = Float[np.ndarray, " stimuli"]

BLOCK_ITEMS = 2**24  # float64 numbers of a block of features: 128 MiB


def pix_corr(stimuli: Images, reconstructions: Reconstructions) -> PerImage:
    """Pearson correlation over all pixels and colours, the reconstruction resized to the stimulus by PIL's bicubic.

    0 where a picture has a single value. Source: PixCorr of Ozcelik and VanRullen 2023, arXiv 2303.05334.
    """
    return np.array(
        [
            _correlation(stimulus.reshape(1, -1), resized.reshape(1, -1))[0]
            for stimulus, resized in _at_stimulus_size(stimuli, reconstructions)
        ]
    )


def ssim(stimuli: Images, reconstructions: Reconstructions, variant: str = "2d") -> PerImage:
    """Structural similarity of the grey pictures in [0, 1]; Gaussian window, sigma 1.5, population covariance.

    "2d" is SSIM proper. "columns" is the mean over the columns' one-dimensional SSIMs: what scikit-image up to 0.19
    made of the paper's call, and so what the paper reports; some hundredths higher.

    Raises ValueError: unknown variant.
    Source: Wang et al. 2004; parameters of Ozcelik and VanRullen 2023, resize as in `pix_corr`.
    """
    if variant not in ("2d", "columns"):
        raise ValueError(f"SSIM variant must be 2d or columns, got {variant}")
    similarity = _ssim_of_columns if variant == "columns" else _ssim
    return np.array(
        [
            similarity(rgb2gray(stimulus), rgb2gray(resized))
            for stimulus, resized in _at_stimulus_size(stimuli, reconstructions)
        ]
    )


def _ssim(a: np.ndarray, b: np.ndarray):
    return structural_similarity(a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


def _ssim_of_columns(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of `_ssim` of each column as a one-dimensional picture, all columns at once."""
    radius = 5  # of scikit-image's window of sigma 1.5
    mean_a, mean_b, square_a, square_b, product = (
        gaussian_filter1d(x, 1.5, axis=0, radius=radius)[radius:-radius] for x in (a, b, a * a, b * b, a * b)
    )
    covariance, variances = product - mean_a * mean_b, square_a - mean_a**2 + square_b - mean_b**2
    light = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return float((light * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean())


def two_way_identification(
    true_features: Float[np.ndarray, "stimuli features"], predicted_features: Float[np.ndarray, "stimuli features"]
) -> PerImage:
    """Share of the other stimuli that correlate less with a reconstruction than its own stimulus does; chance is 0.5.

    A tie counts against the reconstruction. Memory: blocks of features in float64.

    Raises ValueError: a single stimulus.
    """
    n_stimuli = len(true_features)
    if n_stimuli < 2:
        raise ValueError("two-way identification compares with other stimuli; got 1, expected at least 2")
    block = max(1, BLOCK_ITEMS // true_features.shape[1])
    scores = np.empty(n_stimuli)
    for start in range(0, n_stimuli, block):
        predicted = _standardise(predicted_features[start : start + block])
        correlation = np.concatenate(
            [_standardise(true_features[row : row + block]) @ predicted.T for row in range(0, n_stimuli, block)]
        )
        own = correlation[np.arange(start, start + len(predicted)), np.arange(len(predicted))]
        scores[start : start + block] = (correlation < own).sum(0) / (n_stimuli - 1)
    return scores


def correlation_distance(
    true_features: Float[np.ndarray, "stimuli features"], predicted_features: Float[np.ndarray, "stimuli features"]
) -> PerImage:
    """1 - Pearson correlation between the features of a stimulus and of its reconstruction; lower is better."""
    block = max(1, BLOCK_ITEMS // true_features.shape[1])
    starts = range(0, len(true_features), block)
    return 1 - np.concatenate(
        [_correlation(true_features[row : row + block], predicted_features[row : row + block]) for row in starts]
    )


@dataclass(frozen=True)
class Judged:
    """Pictures and a judge's features of them, computed once for all metrics; indexing picks stimuli."""

    images: UInt8[np.ndarray, "stimuli height width 3"]
    features: Float[np.ndarray, "stimuli features"]

    def __getitem__(self, rows: np.ndarray) -> "Judged":
        return Judged(self.images[rows], self.features[rows])


Metric = Callable[[Judged, Judged], np.ndarray]
METRICS: dict[str, Metric] = {
    "pix_corr": lambda seen, made: pix_corr(seen.images, made.images),
    "ssim": lambda seen, made: ssim(seen.images, made.images),
    "ssim_columns": lambda seen, made: ssim(seen.images, made.images, "columns"),
    "two_way_identification": lambda seen, made: two_way_identification(seen.features, made.features),
    "correlation_distance": lambda seen, made: correlation_distance(seen.features, made.features),
}


def shuffled_control(metric: Metric, stimuli: Judged, reconstructions: Judged, seed: int) -> PerImage:
    """The metric when no stimulus keeps its own reconstruction: what a score is worth without the brain.

    Reconstructions move on by one along a seeded random circle of stimuli. Identification falls to chance,
    pixel metrics to what pictures of this kind share anyway.

    Raises ValueError: a single stimulus.
    """
    n_stimuli = len(stimuli.images)
    if n_stimuli < 2:
        raise ValueError("a shuffled control needs other stimuli; got 1, expected at least 2")
    circle = np.random.default_rng(seed).permutation(n_stimuli)
    assigned = np.empty_like(circle)
    assigned[circle] = np.roll(circle, 1)
    return metric(stimuli, reconstructions[assigned])


def _at_stimulus_size(stimuli, reconstructions):
    """Pairs of pictures of the stimulus' size."""
    for stimulus, reconstruction in zip(stimuli, reconstructions, strict=True):
        yield stimulus, pictures.resize(reconstruction[None], stimulus.shape[:2], "bicubic")[0]


def _standardise(rows: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1, so that products are correlations; a constant row becomes 0."""
    centred = rows - rows.mean(1, keepdims=True, dtype=np.float64)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of matching rows."""
    return np.einsum("ij,ij->i", _standardise(a), _standardise(b))
