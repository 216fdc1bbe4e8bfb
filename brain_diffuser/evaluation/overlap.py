"""Overlap of test and training stimuli: how near the nearest training stimulus is, and which are near-duplicates."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.data import splits
from brain_diffuser.evaluation.similarity import Similarity

NEAR_DUPLICATE = 0.95
"""Correlation, in pixels and in the feature, from which on a training stimulus is a near-duplicate."""
SIDE = 32
"""Pixels of a side of the images whose pixels are compared."""
BLOCK_ROWS = 64


class Overlap(NamedTuple):
    """What the training stimuli have of each test stimulus.

    Parameters
    ----------
    nsd_id : (test,)
        The test stimuli.
    nearest : (test,)
        The id of the training stimulus that is nearest by the feature, averaged over its tokens.
    distance : (test,)
        1 - their correlation.
    near_duplicates : (test,)
        How many training stimuli are near-duplicates.
    pixel_correlation : (test,)
        The highest correlation of its pixels with those of a training stimulus; NaN where none vary.
    """

    nsd_id: Int32[np.ndarray, " test"]
    nearest: Int32[np.ndarray, " test"]
    distance: Float[np.ndarray, " test"]
    near_duplicates: Int[np.ndarray, " test"]
    pixel_correlation: Float[np.ndarray, " test"]


def measure(
    feature_test: str | Path,
    feature_train: str | Path,
    stimuli_test: str | Path,
    stimuli_train: str | Path,
    of: Similarity,
) -> Overlap:
    """Compare the test stimuli of a subject with the training stimuli.

    A near-duplicate correlates by `NEAR_DUPLICATE` or more both in its pixels, brought to `SIDE` by `SIDE`, and in the
    feature with all its tokens: copies, images that were encoded again or changed a little in colour. Crops, and other
    photographs of the same thing, are none.

    Parameters
    ----------
    feature_test, feature_train : HDF5
        The feature in which stimuli are near or far.
    stimuli_test, stimuli_train : HDF5
        The images.
    of
        Correlations of this feature.

    Raises ValueError: files of other stimuli.

    Memory: for 8,859 training stimuli 0.5 GB.
    """
    test, train = (splits.pooled(path) for path in (feature_test, feature_train))
    rows, distance = splits.nearest(test, train)
    pixels = []
    for path, ids in ((stimuli_test, of.test_id), (stimuli_train, of.train_id)):
        small, nsd_id = thumbnails(path)
        hdf5.check_aligned(feature_test, ids, path, nsd_id)
        pixels.append(small)
    correlation = pixels[0] @ pixels[1].T
    is_duplicate = (correlation >= NEAR_DUPLICATE) & (of.true[:, len(of.test_id) :] >= NEAR_DUPLICATE)
    highest = np.where(np.isnan(correlation), -np.inf, correlation).max(1)
    return Overlap(
        of.test_id,
        of.train_id[rows],
        distance,
        is_duplicate.sum(1),
        np.where(np.isfinite(highest), highest, np.nan).astype(np.float64),
    )


def thumbnails(path: str | Path) -> tuple[Float32[np.ndarray, "stimuli numbers"], Int32[np.ndarray, " stimuli"]]:
    """The pixels of small stimuli, less their mean and of length 1, and the ids; NaN where pixels do not vary."""
    with hdf5.reading(path) as (images, nsd_id):
        small = np.empty((len(nsd_id), SIDE * SIDE * 3), np.float32)
        for start in range(0, len(nsd_id), BLOCK_ROWS):
            block = image_files.resize(images[start : start + BLOCK_ROWS], SIDE, "bilinear")
            small[start : start + BLOCK_ROWS] = block.reshape(len(block), -1)
    small -= small.mean(1, keepdims=True)
    length = np.linalg.norm(small, axis=1, keepdims=True)
    return np.divide(small, length, out=np.full_like(small, np.nan), where=length > 0), nsd_id
