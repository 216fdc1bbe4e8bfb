"""Pixel metrics: how much a reconstruction resembles its stimulus, pixel by pixel.

Resize filter, colour range and SSIM variant change these numbers; a protocol fixes all of them:
- "brain_diffuser": the stimulus as it is, the reconstruction resized to it by PIL's bicubic filter; SSIM is the mean
  over columns of their one-dimensional SSIM, which is what scikit-image up to 0.19 made of the paper's call, some
  hundredths above SSIM proper;
- "mindeye": both images resized to 256 pixels, then to 425, bilinear and not rounded; SSIM proper.

Source: Ozcelik and VanRullen 2023, arXiv 2303.05334; Scotti et al. 2023, arXiv 2305.18274; Wang et al. 2004.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from brain_diffuser.artifacts import image_files
from brain_diffuser.evaluation import statistics

Images = UInt8[np.ndarray, "stimuli height width 3"]
Reconstructions = UInt8[np.ndarray, "stimuli other_height other_width 3"]
PerImage = Float[np.ndarray, " stimuli"]

PROTOCOLS = ("brain_diffuser", "mindeye")
"""Whose preparation of images, and whose weights of evaluation networks, the metrics follow."""
MINDEYE_SIZES = 256, 425  # both images are shrunk to the first, then widened to the second
WINDOW = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}  # of SSIM, as Wang et al. have it
RADIUS = 5  # pixels, of scikit-image's window of that sigma


def pix_corr(stimuli: Images, reconstructions: Reconstructions, protocol: str) -> PerImage:
    """Pearson correlation over all pixels and colours of each pair of images, NaN where an image has a single level."""
    pairs = comparable(stimuli, reconstructions, protocol)
    return np.array([statistics.pearson(a.ravel(), b.ravel()) for a, b in pairs], np.float64)


def pix_corr_of_pairs(
    stimuli: Images, reconstructions: Reconstructions, protocol: str
) -> Float[np.ndarray, "stimuli stimuli"]:
    """Pearson correlation, over all pixels and colours, of each stimulus (row) with each reconstruction (column).

    Memory: all images in float32, as the protocol prepares them.
    """
    rows = [
        [image.ravel().astype(np.float32) for image in pair] for pair in comparable(stimuli, reconstructions, protocol)
    ]
    true, predicted = (np.stack(each) for each in zip(*rows, strict=True))
    return statistics.correlation_matrix(true, predicted)


def ssim(stimuli: Images, reconstructions: Reconstructions, protocol: str) -> PerImage:
    """Structural similarity of each pair of images, both grey in [0, 1]; the protocol says which SSIM."""
    from skimage.color import rgb2gray

    similarity = _ssim_of_columns if protocol == "brain_diffuser" else _ssim
    pairs = comparable(stimuli, reconstructions, protocol)
    return np.array([similarity(rgb2gray(a), rgb2gray(b)) for a, b in pairs], np.float64)


def comparable(
    stimuli: Images, reconstructions: Reconstructions, protocol: str
) -> Iterator[tuple[Float[np.ndarray, "height width 3"], Float[np.ndarray, "height width 3"]]]:
    """Pairs of a stimulus and its reconstruction, of one size, float64 in [0, 1], prepared as the protocol says.

    Raises ValueError: unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"metrics.protocol must be {' or '.join(PROTOCOLS)}, got {protocol}")
    for stimulus, reconstruction in zip(stimuli, reconstructions, strict=True):
        if protocol == "mindeye":
            small, large = MINDEYE_SIZES
            pair = (_resize_exactly(_resize_exactly(image / 255, small), large) for image in (stimulus, reconstruction))
            yield next(pair), next(pair)
        else:
            yield stimulus / 255, resize_like(stimulus[None], reconstruction[None])[0] / 255


def resize_like(stimuli: Images, reconstructions: Reconstructions) -> Images:
    """Reconstructions resized to their stimuli as the paper does: by PIL's bicubic filter."""
    return image_files.resize(reconstructions, stimuli.shape[1:3], "bicubic")


def _resize_exactly(image: np.ndarray, size: int) -> np.ndarray:
    """PIL's antialiased bilinear resize of a float image, a colour at a time: as torch's with antialias."""
    planes = (Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(image, 2, 0))
    resized = [np.asarray(plane.resize((size, size), Image.Resampling.BILINEAR)) for plane in planes]
    return np.stack(resized, axis=2).astype(np.float64)


def _ssim(a: np.ndarray, b: np.ndarray):
    """Mean SSIM of two grey images."""
    from skimage.metrics import structural_similarity

    return structural_similarity(a, b, data_range=1.0, **WINDOW)


def _ssim_of_columns(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of `_ssim` of each column as a one-dimensional image, all columns at once."""
    from scipy.ndimage import gaussian_filter1d

    mean_a, mean_b, square_a, square_b, product = (
        gaussian_filter1d(x, WINDOW["sigma"], axis=0, radius=RADIUS)[RADIUS:-RADIUS]
        for x in (a, b, a * a, b * b, a * b)
    )
    covariance, variances = product - mean_a * mean_b, square_a - mean_a**2 + square_b - mean_b**2
    light = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return float((light * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean())
