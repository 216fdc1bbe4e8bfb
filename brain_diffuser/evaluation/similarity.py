"""Correlations of a feature, as decoded and as it is, with that of every stimulus: who resembles whom.

One file for each feature. Identification, the choice of the best training image, and the overlap of training and test
stimuli all read it, so that features of a subject pass once.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Float32, Int32

from brain_diffuser.artifacts import hdf5

BLOCK_COLUMNS = 4096
ROUNDING = 1e-6
"""Numbers of a row whose root mean square about their mean is a smaller share of the mean do not vary, in float32."""


class Similarity(NamedTuple):
    """Pearson correlations over the numbers of a feature; NaN where one of both does not vary.

    Parameters
    ----------
    decoded : (test, test + train)
        Of decoded features of the test stimuli with the true features of all stimuli, the test stimuli first.
    true : (test, test + train)
        Of the true features of the test stimuli with the same ones.
    test_id, train_id
        The ids of the stimuli.
    """

    decoded: Float32[np.ndarray, "test stimuli"]
    true: Float32[np.ndarray, "test stimuli"]
    test_id: Int32[np.ndarray, " test"]
    train_id: Int32[np.ndarray, " train"]


def correlate(decoded: str | Path, true_test: str | Path, true_train: str | Path) -> Similarity:
    """Correlate decoded and true features of the test stimuli with the true features of all stimuli.

    Columns are streamed. Rows are shifted by the mean of their first block, which changes no correlation, so that
    products in float32 lose nothing where a feature lies far from zero; sums are float64.

    Parameters
    ----------
    decoded : HDF5
        Decoded features of the test stimuli.
    true_test, true_train : HDF5
        Their true features, and those of the training stimuli.

    Raises
    ------
    ValueError
        Files of other stimuli or of another feature, or a number that is not finite.

    Memory: (2 test, test + train) numbers in float64, and a block of columns of all rows in float32: for 982 and 8,859
    stimuli 0.5 GB.
    """
    paths = (decoded, true_test, true_train)
    with ExitStack() as stack:
        opened = [stack.enter_context(hdf5.reading(path, by_columns=True)) for path in paths]
        (_, some_id), (_, test_id), (_, train_id) = opened
        hdf5.check_aligned(true_test, test_id, decoded, some_id)
        n_columns = _columns_of(paths, [values for values, _ in opened])
        n_test, n_all = len(test_id), len(test_id) + len(train_id)
        rows = np.empty((n_test + n_all, min(BLOCK_COLUMNS, n_columns)), np.float32)
        product, part = np.zeros((2 * n_test, n_all)), np.empty((2 * n_test, n_all), np.float32)
        shift, moments = np.zeros(len(rows), np.float32), np.zeros((2, len(rows)))
        for start in range(0, n_columns, BLOCK_COLUMNS):
            block, first = rows[:, : n_columns - start], 0
            for path, (values, ids) in zip(paths, opened, strict=True):
                read = values[:, start : start + BLOCK_COLUMNS]
                hdf5.check_finite(path, read, ids)
                block[first : first + len(ids)] = read
                first += len(ids)
            if not start:
                shift = block.mean(1)
            block -= shift[:, None]
            moments += block.sum(1, dtype=np.float64), np.einsum("ij,ij->i", block, block, dtype=np.float64)
            product += np.matmul(block[: 2 * n_test], block[n_test:].T, out=part)
    total, square = moments
    length = np.sqrt(np.maximum(square - total**2 / n_columns, 0))
    length[length <= ROUNDING * np.sqrt(n_columns) * np.abs(shift)] = np.nan
    total /= np.sqrt(n_columns)
    product -= np.outer(total[: 2 * n_test], total[n_test:])
    product /= length[: 2 * n_test, None]
    product /= length[n_test:]
    found = np.clip(product, -1, 1, out=product).astype(np.float32)
    return Similarity(found[:n_test], found[n_test:], test_id, train_id)


def _columns_of(paths: Sequence[str | Path], parts: Sequence[h5py.Dataset]) -> int:
    """The columns of a feature. Raises ValueError: files have different ones."""
    for path, values in zip(paths, parts, strict=True):
        if values.shape[1] != parts[0].shape[1]:
            raise ValueError(
                f"{path} has {values.shape[1]} columns and {paths[0]} {parts[0].shape[1]}; expected one feature. "
                f"{hdf5.rerun(path)}"
            )
    return parts[0].shape[1]


def save(path: str | Path, found: Similarity) -> None:
    """Write the correlations of a feature to HDF5, one dataset per field."""
    with hdf5.writing(path) as file:
        for name, values in found._asdict().items():
            hdf5.store(file, name, values)


def load(path: str | Path) -> Similarity:
    """Read what `save` wrote. Raises ValueError: it lacks a part."""
    with hdf5.opening(path) as file:
        lacking = [name for name in Similarity._fields if name not in file]
        if lacking:
            raise ValueError(f"{path} lacks {lacking[0]}; expected correlations of a feature. {hdf5.rerun(path)}")
        return Similarity(**{name: np.asarray(file[name]) for name in Similarity._fields})
