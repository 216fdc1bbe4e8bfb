"""Stage 3: one linear map from betas to every feature, solved in stimulus space and streamed over features."""

import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Float, Int32
from scipy import linalg

from brain_diffuser import arrays

logger = logging.getLogger(__name__)

RESCALES = ("none", "test", "train_oof")
MIRRORED = 1024  # rows at a time
WIDEST_BLOCK = 8192  # columns; beyond it a matrix product gets no faster
PROCESS_BYTES = 300 * 2**20  # the interpreter with its libraries


class Kernel(NamedTuple):
    """What every target and alpha share: products of z-scored betas, stimulus by stimulus."""

    train: Float[np.ndarray, "train train"]
    test: Float[np.ndarray, "test train"]
    train_id: Int32[np.ndarray, " train"]
    test_id: Int32[np.ndarray, " test"]
    betas_mean: Float[np.ndarray, " voxels"]
    betas_std: Float[np.ndarray, " voxels"]


def kernel(
    betas_train: arrays.Rows, betas_test: arrays.Rows, *, precision: str = "float64", voxel_block: int = 2048
) -> Kernel:
    """The kernels X X^T and X_test X^T; X are betas, z-scored.

    The z-score uses the train stimuli's mean and std (ddof 1) in both splits. The kernels serve every target and every
    alpha, for they know neither; `precision` is theirs and that of what is solved with them.
    Memory: betas stay as they are, voxels pass in blocks; the kernels.

    Raises ValueError: splits with different voxels; a voxel that is constant or not finite.
    Source: Ozcelik and VanRullen 2023, arXiv 2303.05334 (z-score).
    """
    train, test = betas_train.values, betas_test.values
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            f"betas_train has {train.shape[1]} voxels, betas_test has {test.shape[1]}; expected one mask. Rerun nsd."
        )
    n_voxels = train.shape[1]
    of_train = np.zeros((len(train), len(train)), precision, order="F")  # its lower triangle, until the end
    of_test = np.zeros((len(test), len(train)), precision)
    betas_mean, betas_std = np.empty(n_voxels), np.empty(n_voxels)
    (add_gram,) = linalg.get_blas_funcs(("syrk",), (of_train,))
    for start in range(0, n_voxels, voxel_block):
        voxels = slice(start, start + voxel_block)
        mean, std = _voxel_moments(train[:, voxels], start)
        betas_mean[voxels], betas_std[voxels] = mean, std
        z_train, z_test = (((split[:, voxels] - mean) / std).astype(precision) for split in (train, test))
        of_train = add_gram(1.0, z_train.T, beta=1.0, c=of_train, trans=1, lower=1, overwrite_c=1)
        of_test += z_test @ z_train.T
    _mirror(of_train)
    return Kernel(of_train, of_test, betas_train.nsd_id, betas_test.nsd_id, betas_mean, betas_std)


def _voxel_moments(block: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std (ddof 1) of train betas per voxel, in float64, both fit to z-score with."""
    mean, std = block.mean(0, dtype=np.float64), block.std(0, ddof=1, dtype=np.float64)
    unfit = np.flatnonzero(~(std > 1e-12 * np.abs(mean)))  # a rounding residue is no variance; NaN is unfit too
    if len(unfit):
        raise ValueError(
            f"betas_train: voxel column {start + unfit[0]} has std {std[unfit[0]]} over {len(block)} stimuli (and "
            f"{len(unfit) - 1} more like it); a z-score needs std > 0. Check the mask of stage nsd."
        )
    return mean, std


def save_kernel(path: str | Path, kernel: Kernel) -> None:
    """Write a kernel to HDF5, one dataset per field; the file appears whole or not at all."""
    with arrays.atomic(path) as partial, h5py.File(partial, "w") as file:
        for name, values in kernel._asdict().items():
            file[name] = values


def load_kernel(path: str | Path) -> Kernel:
    """The kernel that `save_kernel` wrote."""
    with arrays.opening(path) as file:
        missing = sorted(set(Kernel._fields) - set(file))
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}; expected a ridge kernel. {arrays.rerun(path)}")
        return Kernel(**{name: np.asarray(file[name]) for name in Kernel._fields})


def predict(
    kernel: Kernel,
    features_train: str | Path,
    predicted_test: str | Path,
    *,
    alpha: float,
    rescale: str = "test",
    memory_gib: float = 4.0,
) -> None:
    """Write the features that the test betas predict: H (Y - mean Y) + mean Y, H = K_test (K + alpha I)^-1.

    `alpha` > 0 penalises the weights of z-scored betas. Ridge shrinks predictions; `rescale` gives every feature the
    mean and std (ddof 0) of its train targets back, after a z-score by the mean and std of
    - "test": these test predictions themselves, as the paper's code does (transductive: no single image can be done);
    - "train_oof": the leave-one-out predictions of the train stimuli (inductive; one more stimuli x stimuli product);
    - "none": no rescaling.
    A feature that is constant over the train stimuli predicts that constant. Targets pass in blocks of columns: the
    next one is read and centred while one is multiplied, in the precision of the targets (float16 as float32).
    Memory: `memory_gib` for the whole process, kernel included, decides the width of a block.

    Raises ValueError: alpha <= 0, or lost in the kernel's rounding; unknown rescale; one test stimulus with "test"; too
    little memory; targets that are not finite, or of other stimuli than the kernel's.
    Differs from the reference: one solve, not one per token; weights are never formed.
    """
    n_test = len(kernel.test_id)
    if alpha <= 0:
        raise ValueError(f"alpha must be > 0, got {alpha}")
    if rescale not in RESCALES:
        raise ValueError(f"rescale must be one of {', '.join(RESCALES)}, got {rescale}")
    if rescale == "test" and n_test == 1:
        raise ValueError('rescale "test" z-scores over test stimuli and there is 1; use "train_oof" or "none"')
    started = time.perf_counter()
    with arrays.reading(features_train) as (values, nsd_id):
        arrays.check_aligned("the ridge kernel", kernel.train_id, features_train, nsd_id)
        dtype = np.result_type(values.dtype, np.float32)
        operator = _operator(kernel, alpha, rescale, dtype)
        width = _block_width(values, kernel, operator, memory_gib)
        with arrays.create(
            predicted_test,
            (n_test, *json.loads(str(values.attrs["shape"]))),
            dtype,
            kernel.test_id,
            axes=json.loads(str(values.attrs["axes"])),
            unit=str(values.attrs["unit"]),
            attrs={"alpha": alpha, "rescale": rescale},
            chunk=arrays.feature_chunks(n_test, values.shape[1], dtype.itemsize),
        ) as predicted:
            for columns, targets, mean, std in _centred_blocks(values, width, dtype):
                product = operator @ targets
                predicted[:, columns] = _rescale(product[:n_test], product[n_test:], mean, std, rescale)
        n_features = values.shape[1]
    seconds = time.perf_counter() - started
    logger.info(
        "%s: %d features in %.1f s, %.0f GFLOP/s",
        Path(predicted_test).name,
        n_features,
        seconds,
        2e-9 * operator.size * n_features / seconds,
    )


def accuracy(predicted: str | Path, true: str | Path) -> float:
    """Mean over features of the Pearson correlation across stimuli; a feature that does not vary counts as 0."""
    with arrays.reading(predicted) as (ours, our_id), arrays.reading(true) as (theirs, their_id):
        arrays.check_aligned(predicted, our_id, true, their_id)
        total = 0.0
        for start in range(0, ours.shape[1], WIDEST_BLOCK):
            columns = slice(start, start + WIDEST_BLOCK)
            x, y = ours[:, columns].astype(np.float64), theirs[:, columns].astype(np.float64)
            (_, x_std), (_, y_std) = _centre_in_place(x), _centre_in_place(y)
            total += (_ratio(1.0, x_std * y_std) * np.einsum("ij,ij->j", x, y) / len(x)).sum()
        return float(total / ours.shape[1])


def _operator(kernel: Kernel, alpha: float, rescale: str, dtype: np.dtype) -> np.ndarray:
    """The rows that turn centred targets into centred test predictions, then for "train_oof" leave-one-out predictions.

    With M = (K + alpha I)^-1, by Cholesky, test predictions are K_test M y. The hat matrix of a ridge with intercept is
    1/n + I - alpha M, and a fit without stimulus i predicts y_i - (M y)_i / (M_ii - 1 / (n alpha)) for it, the z-score
    of the betas held fixed.
    """
    n_test, n_train = kernel.test.shape
    factor, solve, invert = linalg.get_lapack_funcs(("potrf", "potrs", "potri"), (kernel.train,))
    system = np.array(kernel.train.T, order="F")  # symmetric, so either order will do
    system[np.diag_indices(n_train)] += alpha
    system, problem = factor(system, lower=1, overwrite_a=1, clean=0)
    if problem:
        raise ValueError(
            f"alpha {alpha} is lost in the rounding of a {kernel.train.dtype} kernel; raise it, or set ridge.precision "
            "to float64"
        )
    operator = np.empty((n_test + n_train if rescale == "train_oof" else n_test, n_train), dtype)
    operator[:n_test] = solve(system, kernel.test.T, lower=1)[0].T
    if rescale == "train_oof":
        inverse = invert(system, lower=1, overwrite_c=1)[0]
        _mirror(inverse)
        remaining = np.diagonal(inverse) - 1 / (n_train * alpha)
        for start in range(0, n_train, MIRRORED):
            stimuli = slice(start, start + MIRRORED)
            operator[n_test:][stimuli] = -inverse[stimuli] / remaining[stimuli, None]
        operator[n_test + np.arange(n_train), np.arange(n_train)] += 1
    return operator


def _mirror(lower: np.ndarray) -> None:
    """Copy a square matrix' lower triangle to its upper, in place."""
    for start in range(0, len(lower), MIRRORED):
        stop = start + MIRRORED
        corner = np.tril(lower[start:stop, start:stop])
        lower[start:stop, start:stop] = corner + np.tril(corner, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T


def _block_width(values: h5py.Dataset, kernel: Kernel, operator: np.ndarray, memory_gib: float) -> int:
    """Feature columns to hold at a time, whole HDF5 chunks: as read, centred (here and in the reader), multiplied."""
    chunk = values.chunks[1] if values.chunks else 1
    rows, n_train = operator.shape
    per_column = n_train * (values.dtype.itemsize + 2 * operator.itemsize) + 3 * rows * operator.itemsize
    fixed = PROCESS_BYTES + operator.nbytes + sum(field.nbytes for field in kernel)
    width = int(memory_gib * 2**30 - fixed) // per_column
    if width < chunk:
        needed = (fixed + chunk * per_column) / 2**30
        raise ValueError(
            f"memory_gib {memory_gib} is too little for {rows} x {n_train} stimuli; expected at least {needed:.2f}."
        )
    return min(width, max(WIDEST_BLOCK, chunk)) // chunk * chunk


def _centred_blocks(
    values: h5py.Dataset, width: int, dtype: np.dtype
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """(columns, centred targets, mean, std) of each block; a thread prepares the next while the caller uses one."""

    def prepare(columns: slice) -> tuple[slice, np.ndarray, np.ndarray, np.ndarray]:
        targets = values[:, columns].astype(dtype, copy=False)
        with np.errstate(invalid="ignore"):
            mean, std = _centre_in_place(targets)
        if not np.isfinite(std).all():
            column = columns.start + np.flatnonzero(~np.isfinite(std))[0]
            raise ValueError(f"{values.file.filename} has a value in feature column {column} that is not finite.")
        return columns, targets, mean, std

    blocks = [slice(start, start + width) for start in range(0, values.shape[1], width)]
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(prepare, blocks[0])
        for following in [*blocks[1:], None]:
            ready = pending.result()
            if following is not None:
                pending = reader.submit(prepare, following)
            yield ready


def _centre_in_place(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std (ddof 0) of every column, which are centred; a std within rounding of a constant is 0."""
    mean = columns.mean(0, dtype=np.float64).astype(columns.dtype)
    columns -= mean
    squares = np.zeros(columns.shape[1])
    for start in range(0, len(columns), 256):  # short float32 sums, added up in float64
        part = columns[start : start + 256]
        squares += np.einsum("ij,ij->j", part, part)
    std = np.sqrt(squares / len(columns)).astype(columns.dtype)
    return mean, np.where(std <= 4 * np.finfo(columns.dtype).eps * np.abs(mean), 0, std)


def _rescale(
    predicted: np.ndarray, out_of_fold: np.ndarray, mean: np.ndarray, std: np.ndarray, rescale: str
) -> np.ndarray:
    """Predictions of centred targets, brought to the targets' mean and, unless "none", to their std."""
    if rescale == "none":
        return predicted + mean
    predicted_mean, predicted_std = _centre_in_place(predicted if rescale == "test" else out_of_fold)
    if rescale == "train_oof":
        predicted -= predicted_mean
    return predicted * _ratio(std, predicted_std) + mean


def _ratio(numerator: np.ndarray | float, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, 0 where the denominator is 0: what does not vary stays at its mean."""
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)
