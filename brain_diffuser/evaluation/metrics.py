"""Stage 6: how much a reconstruction resembles its stimulus, one number per image, and what such a number is worth.

Resize filter, colour range and SSIM variant change these numbers; a protocol fixes all of them.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from brain_diffuser.artifacts import image_files
from brain_diffuser.evaluation import registry, statistics

Images = UInt8[np.ndarray, "stimuli height width 3"]


Reconstructions = UInt8[np.ndarray, "stimuli other_height other_width 3"]


PerImage = Float[np.ndarray, " stimuli"]


PIXEL_METRICS = ("pix_corr", "ssim")


LOWER_IS_BETTER = "distance"


MINDEYE_SIZES = 256, 425  # both images are shrunk to the first, then widened to the second


def pixel_metrics(stimuli: Images, reconstructions: Reconstructions, protocol: str) -> dict[str, PerImage]:
    """`pix_corr` and `ssim` of every image.

    PixCorr is Pearson's correlation over all pixels and colours, 0 where an image has a single value. SSIM is that of
    the grey images in [0, 1], Gaussian window of sigma 1.5, population covariance. Protocols:
    - "brain_diffuser": the stimulus as it is, the reconstruction resized to it by PIL's bicubic; the mean over columns
      of their one-dimensional SSIM, which is what scikit-image up to 0.19 made of the paper's call, some hundredths
      above SSIM proper;
    - "mindeye": both to 256 pixels, then to 425, bilinear and not rounded; SSIM proper.

    Raises ValueError: unknown protocol.
    Source: Ozcelik and VanRullen 2023, arXiv 2303.05334; Scotti et al. 2023, arXiv 2305.18274; Wang et al. 2004.
    """
    if protocol not in registry.PROTOCOLS:
        raise ValueError(f"metrics.protocol must be {' or '.join(registry.PROTOCOLS)}, got {protocol}")
    similarity = _ssim_of_columns if protocol == "brain_diffuser" else _ssim
    scores = [
        (
            statistics.correlation(seen.reshape(1, -1), made.reshape(1, -1))[0],
            similarity(rgb2gray(seen), rgb2gray(made)),
        )
        for seen, made in _comparable(stimuli, reconstructions, protocol)
    ]
    return dict(zip(PIXEL_METRICS, np.array(scores, np.float64).reshape(-1, 2).T, strict=True))


def compare(
    true_features: Float[np.ndarray, "stimuli features"],
    predicted_features: Float[np.ndarray, "stimuli features"],
    kind: str,
    assigned: Int[np.ndarray, " stimuli"],
) -> tuple[PerImage, PerImage]:
    """A metric of every image from an evaluation network's features, and the same with the reconstructions of `assigned` stimuli.

    "two_way": the share of other stimuli that correlate less with the reconstruction than the stimulus does; chance is
    0.5, a tie counts against the reconstruction. "distance": 1 - Pearson correlation; lower is better.

    Raises ValueError: a single stimulus, unknown kind.
    Source: Ozcelik and VanRullen 2023, arXiv 2303.05334.
    """
    if kind not in KINDS:
        raise ValueError(f"a metric of features is {' or '.join(KINDS)}, got {kind}")
    correlation = statistics.correlations(true_features, predicted_features)
    own = np.arange(len(correlation))
    return KINDS[kind](correlation, own), KINDS[kind](correlation, assigned)


def two_way(correlation: Float[np.ndarray, "stimuli stimuli"], of: Int[np.ndarray, " stimuli"]) -> PerImage:
    """See `compare`; `correlation` is that of each stimulus' features with those of the reconstructions of `of`.

    Raises ValueError: a single stimulus.
    """
    n_stimuli = len(correlation)
    if n_stimuli < 2:
        raise ValueError("two-way identification compares with other stimuli; got 1, expected at least 2")
    return (correlation[:, of] < correlation[np.arange(n_stimuli), of]).sum(0) / (n_stimuli - 1)


def distance(correlation: Float[np.ndarray, "stimuli stimuli"], of: Int[np.ndarray, " stimuli"]) -> PerImage:
    """See `compare`; the arguments are those of `two_way`."""
    return 1 - correlation[np.arange(len(correlation)), of]


KINDS = {"two_way": two_way, "distance": distance}


def resize_like(stimuli: Images, reconstructions: Reconstructions) -> Images:
    """Reconstructions resized to their stimuli as the paper does: PIL's bicubic."""
    return image_files.resize(reconstructions, stimuli.shape[1:3], "bicubic")


def _comparable(
    stimuli: np.ndarray, reconstructions: np.ndarray, protocol: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of images of one size in [0, 1]."""
    for pair in zip(stimuli, reconstructions, strict=True):
        if protocol == "mindeye":
            small, large = MINDEYE_SIZES
            seen, made = (_resize_exactly(_resize_exactly(each / 255, small), large) for each in pair)
        else:
            seen, made = pair[0] / 255, resize_like(pair[0][None], pair[1][None])[0] / 255
        yield seen, made


def _resize_exactly(image: np.ndarray, size: int) -> np.ndarray:
    """PIL's antialiased bilinear resize of a float image, a colour at a time: as torch's with antialias."""
    planes = (Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(image, 2, 0))
    resized = [np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR)) for plane in planes]
    return np.stack(resized, axis=2).astype(np.float64)


def _ssim(a: np.ndarray, b: np.ndarray):
    return structural_similarity(a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


def _ssim_of_columns(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of `_ssim` of each column as a one-dimensional image, all columns at once."""
    radius = 5  # of scikit-image's window of sigma 1.5
    mean_a, mean_b, square_a, square_b, product = (
        gaussian_filter1d(x, 1.5, axis=0, radius=radius)[radius:-radius] for x in (a, b, a * a, b * b, a * b)
    )
    covariance, variances = product - mean_a * mean_b, square_a - mean_a**2 + square_b - mean_b**2
    light = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return float((light * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean())
