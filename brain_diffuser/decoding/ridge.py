"""Ridge: one linear map from betas to every feature, solved in stimulus space and streamed over features."""

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int32, Shaped
from scipy import linalg
from threadpoolctl import threadpool_limits

from brain_diffuser.artifacts import finite, hdf5
from brain_diffuser.decoding import ridge_memory, ridge_solution, ridge_stream

logger = logging.getLogger(__name__)

RESCALES = ("none", "test", "train_oof")
GIB = 2**30
SMALL = 2048  # rows of a matrix that one core factorises: on busy cores the threads of small steps wait for each other


class Kernel(NamedTuple):
    """What all features and alphas share: products of z-scored betas.

    In stimulus space, without `gram`, `train` is X X^T (train, train) and `test` is X_test X^T (test, train). From
    twice as many train stimuli as voxels on, `gram` is X^T X, and `train` and `test` are X and X_test.
    """

    train: Float[np.ndarray, "train columns"]
    test: Float[np.ndarray, "test columns"]
    train_id: Int32[np.ndarray, " train"]
    test_id: Int32[np.ndarray, " test"]
    betas_mean: Float[np.ndarray, " voxels"]
    betas_std: Float[np.ndarray, " voxels"]
    gram: Float[np.ndarray, "voxels voxels"] | None = None


def kernel(
    betas_train: hdf5.StimulusArray,
    betas_test: hdf5.StimulusArray,
    *,
    precision: str = "float64",
    voxel_block: int = 2048,
) -> Kernel:
    """The products of z-scored betas X that every ridge needs: X X^T and X_test X^T, or X^T X with X and X_test.

    The z-score uses the train stimuli's mean and std (ddof 1) in both splits. The products depend on neither feature
    nor alpha, so they serve all of them. X^T X is taken from twice as many train stimuli as voxels on; predictions are
    the same.

    Parameters
    ----------
    betas_train, betas_test : values (stimuli, voxels) and their ids
        Arrays, or datasets of open files.
    precision : "float64" or "float32"
        Of the kernels and of what is solved with them.
    voxel_block : int
        Voxels at a time.

    Raises
    ------
    ValueError
        The splits have different voxels, this machine's memory is too small, a voxel is constant over the train
        stimuli, or a number is not finite, before or after the z-score.

    Memory: the result, and one block of voxels of both splits.
    Source: Ozcelik and VanRullen 2023, arXiv 2303.05334 (z-score).
    """
    train, test = betas_train.values, betas_test.values
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            f"betas_train has {train.shape[1]} voxels, betas_test has {test.shape[1]}; expected one mask for both. "
            "Rerun the rule betas."
        )
    _check_machine(len(train), len(test), train.shape[1], precision, voxel_block)
    make = _of_voxels if ridge_memory.in_voxel_space(*train.shape) else _of_stimuli
    with threadpool_limits(1 if min(train.shape) <= SMALL else None, "blas"):
        made = make(betas_train, betas_test, precision, voxel_block)
    with finite.naming("ridge kernel", betas_train.nsd_id):
        products = made.train if made.gram is None else made.gram
        finite.check(products, f"the products of train betas ({precision})", "Check the mask and the betas.")
    with finite.naming("ridge kernel", betas_test.nsd_id):
        finite.check(made.test, f"the products of test and train betas ({precision})", "Check the mask and the betas.")
    return made


def _of_stimuli(
    betas_train: hdf5.StimulusArray, betas_test: hdf5.StimulusArray, precision: str, voxel_block: int
) -> Kernel:
    """A kernel in stimulus space."""
    train, test = betas_train.values, betas_test.values
    of_train = np.zeros((len(train), len(train)), precision, order="F")  # its lower triangle, until the end
    of_test = np.zeros((len(test), len(train)), precision)
    betas_mean, betas_std = np.empty((2, train.shape[1]))
    (add_gram,) = linalg.get_blas_funcs(("syrk",), (of_train,))
    product = np.empty_like(of_test)
    for voxels, z_train, z_test, moments in _blocks(train, test, precision, voxel_block):
        _check_test(z_test, betas_test, voxels, precision)
        betas_mean[voxels], betas_std[voxels] = moments
        of_train = add_gram(1.0, z_train.T, beta=1.0, c=of_train, trans=1, lower=1, overwrite_c=1)
        of_test += np.matmul(z_test, z_train.T, out=product)
    ridge_solution.mirror(of_train)
    return Kernel(of_train.T, of_test, betas_train.nsd_id, betas_test.nsd_id, betas_mean, betas_std)


def _of_voxels(
    betas_train: hdf5.StimulusArray, betas_test: hdf5.StimulusArray, precision: str, voxel_block: int
) -> Kernel:
    """A kernel in voxel space."""
    train, test = betas_train.values, betas_test.values
    x_train, x_test = (np.empty(split.shape, precision) for split in (train, test))
    betas_mean, betas_std = np.empty((2, train.shape[1]))
    for voxels, z_train, z_test, moments in _blocks(train, test, precision, voxel_block):
        _check_test(z_test, betas_test, voxels, precision)
        betas_mean[voxels], betas_std[voxels] = moments
        x_train[:, voxels], x_test[:, voxels] = z_train, z_test
    (gram_of,) = linalg.get_blas_funcs(("syrk",), (x_train,))
    gram = gram_of(1.0, x_train.T, lower=1)
    ridge_solution.mirror(gram)
    return Kernel(x_train, x_test, betas_train.nsd_id, betas_test.nsd_id, betas_mean, betas_std, gram.T)


def _check_test(z_test: np.ndarray, betas_test: hdf5.StimulusArray, voxels: slice, precision: str) -> None:
    """Raises NotFinite: a test beta, z-scored."""
    with finite.naming(f"z-scored betas_test, voxel columns {voxels.start} to {voxels.stop - 1}", betas_test.nsd_id):
        finite.check(z_test, f"the betas ({precision})", "Check the betas, or set ridge.precision to float64.")


def _check_machine(n_train: int, n_test: int, n_voxels: int, precision: str, voxel_block: int) -> None:
    """Raises ValueError: a kernel takes more memory than this machine has."""
    itemsize = np.dtype(precision).itemsize
    needed = ridge_memory.of_kernel(n_train, n_test, n_voxels, itemsize, voxel_block) / GIB
    has = _memory_of_machine() / GIB
    if needed > has:
        less = f"set ridge.precision to float32 ({needed / 2:.1f} GiB), or " if precision == "float64" else ""
        raise ValueError(
            f"the ridge kernel of {n_train} train stimuli and {n_voxels} voxels takes {needed:.1f} GiB in {precision}, "
            f"and this machine has {has:.1f}; {less}choose a smaller mask (nsd.mask) or fewer stimuli"
        )


def _memory_of_machine() -> float:
    """Bytes of memory; where the system does not say, any number is less."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return float("inf")


def cross_kernel(
    kernel: Kernel,
    betas_train: hdf5.StimulusArray,
    new: Shaped[np.ndarray, "new voxels"] | h5py.Dataset,
    *,
    standardised: bool = False,
    voxel_block: int = 2048,
) -> Float[np.ndarray, "new columns"]:
    """The kernel X_new X^T of other patterns, or their z-score in voxel space.

    `kernel._replace(test=..., test_id=...)` predicts from them.

    Parameters
    ----------
    kernel : Kernel
        Whose mean and std z-score the patterns.
    betas_train : values (stimuli, voxels) and their ids
        The betas that the kernel was made of.
    new : (new, voxels)
        The other patterns.
    standardised : bool
        Whether the patterns are in units of the z-score already, such as a mask of voxels.
    voxel_block : int
        Voxels at a time.

    Raises
    ------
    ValueError
        Train betas of other stimuli than the kernel's, or other voxels.

    Memory: the result twice, and one block of voxels.
    """
    train = betas_train.values
    hdf5.check_aligned("the ridge kernel", kernel.train_id, "betas_train", betas_train.nsd_id)
    for name, n_voxels in (("betas_train", train.shape[1]), ("a new pattern", new.shape[1])):
        if n_voxels != len(kernel.betas_mean):
            raise ValueError(
                f"the ridge kernel has {len(kernel.betas_mean)} voxels, {name} has {n_voxels}; expected the same. "
                "Rerun ridge_kernel, or encoding_kernel for an encoding model."
            )
    if kernel.gram is not None:
        if standardised:
            return np.asarray(new[...], kernel.train.dtype)
        mean, std = (moment.astype(kernel.train.dtype) for moment in (kernel.betas_mean, kernel.betas_std))
        return np.subtract(new[...], mean, dtype=kernel.train.dtype, casting="same_kind") / std
    products = np.zeros((len(new), len(train)), kernel.train.dtype)
    product = np.empty_like(products)
    for _, z_train, z_new, _ in _blocks(train, new, products.dtype, voxel_block, kernel, standardised):
        products += np.matmul(z_new, z_train.T, out=product)
    return products


def _blocks(
    train: Any, other: Any, precision: Any, voxel_block: int, known: Kernel | None = None, standardised: bool = False
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """Blocks of voxels: (which, z-scored train betas, other betas z-scored unless `standardised`, (mean, std)).

    Mean and std are those of a known kernel, or else of the train betas. The next block overwrites the arrays.
    """
    n_voxels = train.shape[1]
    buffers = [np.empty((len(split), min(voxel_block, n_voxels)), precision) for split in (train, other)]
    for start in range(0, n_voxels, voxel_block):
        voxels = slice(start, min(start + voxel_block, n_voxels))
        z_train, z_other = (buffer[:, : voxels.stop - start] for buffer in buffers)
        z_train[...] = train[:, voxels]
        if known is None:
            mean, std = ridge_stream.centre_in_place(z_train, ddof=1)
            _check_voxels(mean, std, len(train), start)
        else:
            mean, std = (moment[voxels].astype(precision) for moment in (known.betas_mean, known.betas_std))
            z_train -= mean
        z_train /= std
        if standardised:
            z_other[...] = other[:, voxels]
        else:
            with np.errstate(over="ignore"):
                np.subtract(other[:, voxels], mean, out=z_other, casting="same_kind")
                z_other /= std
        yield voxels, z_train, z_other, (mean, std)


def _check_voxels(mean: np.ndarray, std: np.ndarray, n_train: int, start: int) -> None:
    """Raises ValueError: train betas of voxels from `start` on cannot be z-scored."""
    # a rounding residue is no variance; NaN is unfit too, and inf would make every z-score 0
    unfit = np.flatnonzero(~((std > 1e-12 * np.abs(mean)) & np.isfinite(std)))
    if len(unfit):
        raise ValueError(
            f"betas_train: voxel column {start + unfit[0]} has std {std[unfit[0]]} over {n_train} stimuli (and "
            f"{len(unfit) - 1} more like it); a z-score needs a finite std > 0. Check the mask of the "
            "dataset."
        )


def save_kernel(path: str | Path, kernel: Kernel) -> None:
    """Write a kernel to HDF5, one dataset per field; the file appears whole or not at all."""
    with hdf5.writing(path) as file:
        for name, values in kernel._asdict().items():
            if values is not None:
                hdf5.store(file, name, values)


def load_kernel(path: str | Path) -> Kernel:
    """Read the kernel that `save_kernel` wrote.

    Raises ValueError: it lacks a part, or a number is not finite.
    """
    return _load(path, Kernel, "ridge kernel")


class Reliability(NamedTuple):
    """How well every feature is predicted for left-out train stimuli, in the shape of one stimulus' features."""

    correlation: Float[np.ndarray, "..."]
    """Of leave-one-out predictions and train targets; 0 where one of both is constant."""
    std: Float[np.ndarray, "..."]
    """Of the train targets (ddof 0)."""


Stored = TypeVar("Stored", Kernel, Reliability)


def load_reliability(path: str | Path) -> Reliability:
    """Read the reliability that `predict` wrote beside its predictions."""
    return _load(path, Reliability, "reliability")


def _load(path: str | Path, form: type[Stored], what: str) -> Stored:
    """Read the datasets of a file, one for each field of a class."""
    with hdf5.opening(path) as file:
        missing = sorted(set(form._fields) - set(form._field_defaults) - set(file))
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}; expected a {what}. {hdf5.rerun(path)}")
        stored = form(**{name: np.asarray(file[name]) for name in form._fields if name in file})
    for name, values in stored._asdict().items():
        if values is not None and finite.rows_not_finite(values):
            raise ValueError(f"{path}: {name} has numbers that are not finite; expected a {what}. {hdf5.rerun(path)}")
    return stored


def predict(
    kernel: Kernel,
    features_train: str | Path,
    predicted_test: str | Path,
    reliability: str | Path | None = None,
    *,
    alpha: float,
    rescale: str,
    memory_gib: float = 4.0,
    overwrite_kernel: bool = False,
) -> None:
    """Write the features that the test betas predict: H (Y - mean Y) + mean Y, H = K_test (K + alpha I)^-1.

    Ridge shrinks predictions; `rescale` gives every feature the mean and std (ddof 0) of its train targets back. A
    feature that is constant over the train stimuli predicts that constant. Targets pass in blocks of columns, in their
    own precision (float16 as float32); every core reads, centres, multiplies and writes blocks of its own.

    Parameters
    ----------
    kernel : Kernel
        Of the betas.
    features_train : path
        HDF5 of the train stimuli's features.
    predicted_test : path
        The HDF5 that is written, with the axes and unit of the features.
    reliability : path, optional
        A file for what the leave-one-out predictions say of every feature; see `Reliability`.
    alpha : float
        Penalty on the weights of z-scored betas, above 0.
    rescale : "train_oof", "test" or "none"
        Predictions are z-scored by mean and std of: "train_oof" leave-one-out predictions of the train stimuli
        (inductive; one more product of stimuli x stimuli); "test" these test predictions, as in the paper's code
        (transductive: a single image cannot be predicted). "none" is no rescaling.
    memory_gib : float
        Of the whole process, kernel included; sets the width of a block and how many are computed at a time;
        changes no result.
    overwrite_kernel : bool
        Saves a copy of the kernel, which is not usable afterwards.

    Raises
    ------
    ValueError
        alpha <= 0, or lost in the kernel's rounding; unknown rescale; one test stimulus with "test"; too little memory;
        targets that are not finite, or of other stimuli than the kernel's.

    Differs from the reference: one solve, not one per token; weights are never formed.
    """
    _check_settings(alpha, rescale, len(kernel.test_id))
    started = time.perf_counter()
    with hdf5.reading(features_train, by_columns=True) as (values, nsd_id):
        hdf5.check_aligned("the ridge kernel", kernel.train_id, features_train, nsd_id)
        shapes = {name: field.shape for name, field in kernel._asdict().items() if field is not None}
        left_out = rescale == "train_oof" or reliability is not None
        free = _free_bytes(
            shapes, kernel.train.dtype, values, left_out, reliability is not None, overwrite_kernel, memory_gib
        )
        dtype = np.result_type(values.dtype, np.float32)
        solution = _solution(kernel, alpha, dtype, left_out, reliability is not None, overwrite_kernel)
        measured = ridge_stream.Reliabilities(*np.zeros((2, values.shape[1]), dtype)) if reliability else None
        row_shape, n_features, n_test = hdf5.about(values)["shape"], values.shape[1], len(kernel.test_id)
        chunk = hdf5.feature_chunks(n_test, n_features, dtype.itemsize)
        with hdf5.create(
            predicted_test,
            (n_test, *row_shape),
            dtype,
            kernel.test_id,
            axes=hdf5.about(values)["axes"],
            unit=hdf5.about(values)["unit"],
            attrs={"alpha": alpha, "rescale": rescale},
            chunk=chunk,
            by_columns=True,
        ) as predicted:
            stream = ridge_stream.Stream(values, nsd_id, predicted, solution, rescale, measured)
            stream.run(*ridge_stream.workers_and_width(values, chunk[1], solution.buffer_rows, dtype.itemsize, free))
    if reliability and measured:
        with hdf5.writing(reliability) as file:
            for name, numbers in measured._asdict().items():
                hdf5.store(file, name, numbers.reshape(row_shape))
    seconds = time.perf_counter() - started
    speed = 2e-9 * solution.products_of_a_column * n_features / seconds
    logger.info("%s: %d features in %.1f s, %.0f GFLOP/s", Path(predicted_test).name, n_features, seconds, speed)


def _check_settings(alpha: float, rescale: str, n_test: int) -> None:
    """Raises ValueError: settings of `predict` that are out of range."""
    if alpha <= 0:
        raise ValueError(f"alpha must be > 0, got {alpha}")
    if rescale not in RESCALES:
        raise ValueError(f"rescale must be one of {', '.join(RESCALES)}, got {rescale}")
    if rescale == "test" and n_test == 1:
        raise ValueError('rescale "test" z-scores over test stimuli and there is 1; use "train_oof" or "none"')


def rows_of_test(kernel: Kernel, alpha: float) -> Float[np.ndarray, "test train"]:
    """The rows that turn centred targets into centred test predictions, X_test (X^T X + alpha I)^-1 X^T.

    Raises ValueError: alpha is lost in the kernel's rounding, or a row is not finite.
    """
    solution = _solution(kernel, alpha, kernel.train.dtype, False, False, False)
    if isinstance(solution, ridge_solution.VoxelSpace):
        return solution.test @ solution.train.T
    return solution.rows


def _solution(
    kernel: Kernel, alpha: float, dtype: np.dtype, leave_one_out: bool, covariance: bool, overwrite: bool
) -> ridge_solution.Solution:
    """The solution for one alpha, in the space of the kernel."""
    ids = kernel.train_id, kernel.test_id
    small = len(kernel.train if kernel.gram is None else kernel.gram) <= SMALL
    with threadpool_limits(1 if small else None, "blas"):
        if kernel.gram is not None:
            return ridge_solution.in_voxel_space(
                kernel.train, kernel.test, kernel.gram, alpha, dtype, ids,
                leave_one_out=leave_one_out, overwrite=overwrite,
            )  # fmt: skip
        return ridge_solution.in_stimulus_space(
            kernel.train, kernel.test, alpha, dtype, ids,
            leave_one_out=leave_one_out, covariance=covariance, overwrite=overwrite,
        )  # fmt: skip


def check_memory(
    kernel: str | Path,
    features_train: str | Path,
    rescale: str,
    *,
    reliability: bool,
    memory_gib: float,
    overwrite_kernel: bool = False,
) -> None:
    """Check, by shapes and before any number is read, that `predict` has memory enough.

    Parameters
    ----------
    kernel, features_train : paths
        Of the kernel and of the train stimuli's features.
    rescale, memory_gib, overwrite_kernel
        As of `predict`.
    reliability : bool
        Whether `predict` writes one.

    Raises
    ------
    ValueError
        The memory is too little.
    """
    with hdf5.opening(kernel) as file, hdf5.reading(features_train) as (values, _):
        parts = {name: hdf5.dataset(file, name) for name in Kernel._fields}
        shapes = {name: part.shape for name, part in parts.items() if part is not None}
        if parts["train"] is not None and parts["test"] is not None:  # of another file `load_kernel` says what it lacks
            left_out = rescale == "train_oof" or reliability
            _free_bytes(shapes, parts["train"].dtype, values, left_out, reliability, overwrite_kernel, memory_gib)


def save_weights(
    path: str | Path,
    kernel: Kernel,
    betas_train: hdf5.StimulusArray,
    features_train: str | Path,
    *,
    alpha: float,
    voxels: Bool[np.ndarray, " voxels"],
    columns: Sequence[int] | None = None,
    column_block: int = 512,
) -> None:
    """Write the weights of some voxels for some features to HDF5, (chosen voxels, chosen columns).

    A prediction is ((betas - betas_mean) / betas_std) @ weights + intercept with the arrays of the file, if all voxels
    were chosen. No other stage needs weights.

    Parameters
    ----------
    path : path
        The HDF5 that is written.
    kernel : Kernel
        Of the betas.
    betas_train : values (stimuli, voxels) and their ids
        The betas that the kernel was made of.
    features_train : path
        HDF5 of the train stimuli's features.
    alpha : float
        Penalty on the weights of z-scored betas, above 0.
    voxels : bool (voxels)
        Which voxels.
    columns : sequence of int, optional
        Which columns of the feature; None is all.
    column_block : int
        Columns at a time.

    Raises
    ------
    ValueError
        alpha <= 0, a column that is not there, or features of other stimuli than the kernel's.

    Memory: the factor of the kernel, the betas of the chosen voxels, and one block of columns.
    """
    if alpha <= 0:
        raise ValueError(f"alpha must be > 0, got {alpha}")
    (solve,) = linalg.get_lapack_funcs(("potrs",), (kernel.train,))
    with hdf5.reading(features_train, by_columns=True) as (values, nsd_id):
        hdf5.check_aligned("the ridge kernel", kernel.train_id, features_train, nsd_id)
        hdf5.check_aligned("the ridge kernel", kernel.train_id, "betas_train", betas_train.nsd_id)
        chosen = np.arange(values.shape[1]) if columns is None else np.unique(columns)
        if chosen[-1] >= values.shape[1]:
            raise ValueError(f"{features_train} has {values.shape[1]} columns, got column {chosen[-1]}; choose fewer.")
        if kernel.gram is None:
            system = ridge_solution.cholesky(kernel.train, alpha)
            z = (betas_train.values[:, voxels] - kernel.betas_mean[voxels]) / kernel.betas_std[voxels]
        else:
            system, z = ridge_solution.cholesky(kernel.gram, alpha), None
        with hdf5.writing(path) as file:
            shape = (int(voxels.sum()), len(chosen))
            weights = file.create_dataset("weights", shape, np.float32, chunks=True, fletcher32=True)
            intercept = np.empty(len(chosen), np.float32)
            for name, numbers in (
                ("betas_mean", kernel.betas_mean[voxels]),
                ("betas_std", kernel.betas_std[voxels]),
                ("column", chosen),
                ("voxel_column", np.flatnonzero(voxels)),
            ):
                hdf5.store(file, name, numbers)
            file.attrs["alpha"] = alpha
            for start in range(0, len(chosen), column_block):
                block = slice(start, start + column_block)
                which = chosen[block]
                is_range = which[-1] - which[0] == len(which) - 1  # HDF5 is slow at lists
                targets = values[:, slice(which[0], which[-1] + 1) if is_range else which].astype(kernel.train.dtype)
                hdf5.check_finite(features_train, targets, nsd_id)
                mean = targets.mean(0)
                if z is not None:
                    made = z.T @ solve(system, np.asfortranarray(targets - mean), lower=1)[0]
                else:
                    made = solve(system, kernel.train.T @ (targets - mean), lower=1)[0][voxels]
                weights[:, block], intercept[block] = made, mean
            hdf5.store(file, "intercept", intercept)


def _free_bytes(
    shapes: Mapping[str, tuple[int, ...]],
    precision: np.dtype,
    values: h5py.Dataset,
    leave_one_out: bool,
    covariance: bool,
    overwrite: bool,
    memory_gib: float,
) -> float:
    """Bytes that are left for blocks of targets.

    Parameters
    ----------
    shapes : {field of the kernel: shape}
    precision : dtype
        Of the kernel.
    values : h5py.Dataset (train, features)
        The targets.
    leave_one_out, covariance, overwrite : bool
        As of `ridge_solution.in_stimulus_space`.
    memory_gib : float
        Of the whole process.

    Raises
    ------
    ValueError
        Less than one block of one chunk needs, or than the solution takes while it is made.
    """
    (n_train, n_columns), n_test = shapes["train"], shapes["test"][0]
    numbers = sum(math.prod(shape) for shape in shapes.values())
    itemsize = np.result_type(values.dtype, np.float32).itemsize
    panel = min(ridge_solution.PANEL, n_train) * leave_one_out
    of_train = n_train * n_columns
    kept = 0 if overwrite else of_train * precision.itemsize
    if "gram" in shapes:
        kept += n_test * n_columns * itemsize + (of_train * itemsize if itemsize != precision.itemsize else 0)
        making = kept + (0 if overwrite else n_columns**2 * precision.itemsize)
        buffer_rows = (n_test, n_columns, panel, panel)
    else:
        half = n_train * (n_train + panel) // 2 * (leave_one_out + covariance)
        kept += (n_test * n_train + half) * itemsize
        making = kept + of_train * itemsize * leave_one_out
        buffer_rows = (n_test, panel)
    chunk = values.chunks[1] if values.chunks else 1
    fixed = ridge_memory.PROCESS_BYTES + numbers * precision.itemsize
    one_block = chunk * ridge_stream.bytes_of_a_column(values, buffer_rows, itemsize)
    needed = fixed + max(making, kept + one_block)
    if needed > memory_gib * GIB:
        less = "" if precision.itemsize == 4 else ", or set ridge.precision to float32"
        raise ValueError(
            f"memory_gib {memory_gib} is too little for {n_test} x {n_train} stimuli; expected at least "
            f"{needed / GIB:.2f}. Raise ridge.memory_gib{less}."
        )
    return memory_gib * GIB - fixed - kept
