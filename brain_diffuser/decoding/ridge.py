"""Ridge: one linear map from betas to every feature, solved in stimulus space and streamed over features."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int32, Shaped
from scipy import linalg
from threadpoolctl import threadpool_info, threadpool_limits

from brain_diffuser.artifacts import finite, hdf5

logger = logging.getLogger(__name__)

RESCALES = ("none", "test", "train_oof")
MIRRORED = 1024  # rows that are mirrored at a time
WIDEST_BLOCK = 2048  # columns; beyond it a matrix product gets no faster
PROCESS_BYTES = 300 * 2**20  # of the interpreter with its libraries


class Kernel(NamedTuple):
    """What all features and alphas share: products of z-scored betas, stimulus by stimulus."""

    train: Float[np.ndarray, "train train"]
    test: Float[np.ndarray, "test train"]
    train_id: Int32[np.ndarray, " train"]
    test_id: Int32[np.ndarray, " test"]
    betas_mean: Float[np.ndarray, " voxels"]
    betas_std: Float[np.ndarray, " voxels"]


def kernel(
    betas_train: hdf5.StimulusArray,
    betas_test: hdf5.StimulusArray,
    *,
    precision: str = "float64",
    voxel_block: int = 2048,
) -> Kernel:
    """The kernels X X^T and X_test X^T of z-scored betas X.

    The z-score uses the train stimuli's mean and std (ddof 1) in both splits. The kernels depend on neither feature nor
    alpha, so they serve all of them.

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
        The splits have different voxels, a voxel is constant over the train stimuli, or a number is not finite, before
        or after the z-score.

    Memory: the kernels, and one block of voxels of both splits.
    Source: Ozcelik and VanRullen 2023, arXiv 2303.05334 (z-score).
    """
    train, test = betas_train.values, betas_test.values
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            f"betas_train has {train.shape[1]} voxels, betas_test has {test.shape[1]}; expected one mask for both. "
            "Rerun the rule betas."
        )
    n_voxels = train.shape[1]
    of_train = np.zeros((len(train), len(train)), precision, order="F")  # its lower triangle, until the end
    of_test = np.zeros((len(test), len(train)), precision)
    betas_mean, betas_std = np.empty(n_voxels), np.empty(n_voxels)
    (add_gram,) = linalg.get_blas_funcs(("syrk",), (of_train,))
    product = np.empty_like(of_test)
    for voxels, z_train, z_test, moments in _blocks(train, test, precision, voxel_block):
        with finite.naming(
            f"z-scored betas_test, voxel columns {voxels.start} to {voxels.stop - 1}", betas_test.nsd_id
        ):
            finite.check(z_test, f"the betas ({precision})", "Check the betas, or set ridge.precision to float64.")
        betas_mean[voxels], betas_std[voxels] = moments
        of_train = add_gram(1.0, z_train.T, beta=1.0, c=of_train, trans=1, lower=1, overwrite_c=1)
        of_test += np.matmul(z_test, z_train.T, out=product)
    _mirror(of_train)
    with finite.naming("ridge kernel", betas_train.nsd_id):
        finite.check(of_train, f"the products of train betas ({precision})", "Check the mask and the betas.")
    with finite.naming("ridge kernel", betas_test.nsd_id):
        finite.check(of_test, f"the products of test and train betas ({precision})", "Check the mask and the betas.")
    return Kernel(of_train.T, of_test, betas_train.nsd_id, betas_test.nsd_id, betas_mean, betas_std)


def cross_kernel(
    kernel: Kernel,
    betas_train: hdf5.StimulusArray,
    new: Shaped[np.ndarray, "new voxels"] | h5py.Dataset,
    *,
    standardised: bool = False,
    voxel_block: int = 2048,
) -> Float[np.ndarray, "new train"]:
    """The kernel X_new X^T of other patterns; `kernel._replace(test=..., test_id=...)` predicts from them.

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
            mean, std = _centre_in_place(z_train, ddof=1)
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
        missing = sorted(set(form._fields) - set(file))
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}; expected a {what}. {hdf5.rerun(path)}")
        stored = form(*(np.asarray(file[name]) for name in form._fields))
    for name, values in stored._asdict().items():
        if finite.rows_not_finite(values):
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
        dtype = np.result_type(values.dtype, np.float32)
        operator = _operator(kernel, alpha, "train_oof" if reliability else rescale, dtype, overwrite_kernel)
        measured = Reliability(*np.zeros((2, values.shape[1]), dtype)) if reliability else None
        workers, width = _workers_and_width(values, kernel, operator, memory_gib)
        row_shape, n_features, n_test = hdf5.about(values)["shape"], values.shape[1], len(kernel.test_id)
        with (
            hdf5.create(
                predicted_test,
                (n_test, *row_shape),
                dtype,
                kernel.test_id,
                axes=hdf5.about(values)["axes"],
                unit=hdf5.about(values)["unit"],
                attrs={"alpha": alpha, "rescale": rescale},
                chunk=hdf5.feature_chunks(n_test, n_features, dtype.itemsize),
                by_columns=True,
            ) as predicted,
            threadpool_limits(1, "blas"),  # a product on each core keeps all busier than one product on all
        ):
            blocks = _Blocks(values, predicted, operator, n_test, width, rescale, measured, nsd_id)
            with ThreadPoolExecutor(workers, initializer=blocks.make_buffers) as pool:
                for _ in pool.map(blocks.predict, range(0, n_features, width)):
                    pass
    if reliability and measured:
        with hdf5.writing(reliability) as file:
            for name, numbers in measured._asdict().items():
                hdf5.store(file, name, numbers.reshape(row_shape))
    seconds = time.perf_counter() - started
    speed = 2e-9 * operator.size * n_features / seconds
    logger.info("%s: %d features in %.1f s, %.0f GFLOP/s", Path(predicted_test).name, n_features, seconds, speed)


def _check_settings(alpha: float, rescale: str, n_test: int) -> None:
    """Raises ValueError: settings of `predict` that are out of range."""
    if alpha <= 0:
        raise ValueError(f"alpha must be > 0, got {alpha}")
    if rescale not in RESCALES:
        raise ValueError(f"rescale must be one of {', '.join(RESCALES)}, got {rescale}")
    if rescale == "test" and n_test == 1:
        raise ValueError('rescale "test" z-scores over test stimuli and there is 1; use "train_oof" or "none"')


class _Blocks:
    """Predictions of one block of feature columns after the other; every thread has buffers of its own."""

    def __init__(
        self,
        values: h5py.Dataset,
        predicted: h5py.Dataset,
        operator: np.ndarray,
        n_test: int,
        width: int,
        rescale: str,
        measured: Reliability | None,
        train_id: Int32[np.ndarray, " train"],
    ):
        self.train_id = train_id
        self.values, self.predicted, self.operator = values, predicted, operator
        self.n_test, self.width, self.rescale, self.measured = n_test, width, rescale, measured
        self.own = threading.local()  # fresh memory for each block would take longer than the product

    def make_buffers(self) -> None:
        """Give the calling thread its buffers."""
        dtype = self.operator.dtype
        self.own.stored = np.empty((_rows_of_chunk(self.values), self.width), self.values.dtype)
        self.own.targets = np.empty((len(self.values), self.width), dtype)
        self.own.product = np.empty((len(self.operator), self.width), dtype)

    def _refuse(self, column: int) -> None:
        """Raises ValueError: a column of targets has no finite std."""
        path, values = self.values.file.filename, self.values[:, column]
        rows = finite.rows_not_finite(values)
        if rows:
            value = finite.first_not_finite(values[rows[0]])
            raise finite.NotFinite(f"feature column {column}", rows, value, hdf5.rerun(path)).of(path, self.train_id)
        largest = int(np.argmax(np.abs(values)))
        raise ValueError(
            f"{path} has {values[largest]:g} in feature column {column} for nsd_id {self.train_id[largest]}, whose "
            f"square {self.operator.dtype} cannot hold; expected numbers below 1e18. {hdf5.rerun(path)}"
        )

    def predict(self, start: int) -> None:
        """Predict the block of columns that begins at `start`."""
        columns = slice(start, min(start + self.width, self.values.shape[1]))
        here = slice(0, columns.stop - start)
        targets, product = self.own.targets[:, here], self.own.product[:, here]
        self._read(targets, columns)
        with np.errstate(invalid="ignore"):
            mean, std = _centre_in_place(targets)
        if not np.isfinite(std).all():
            self._refuse(start + int(np.flatnonzero(~np.isfinite(std))[0]))
        np.matmul(self.operator, targets, out=product)
        out_of_fold = product[self.n_test :]
        _rescale(product[: self.n_test], out_of_fold, mean, std, self.rescale, start)
        self.predicted[:, columns] = product[: self.n_test]
        if self.measured:
            out_of_fold_std = _centre_in_place(out_of_fold)[1]
            _check_std(out_of_fold_std, start)
            spread = out_of_fold_std * std * len(targets)
            self.measured.correlation[columns] = _ratio(np.einsum("ij,ij->j", targets, out_of_fold), spread)
            self.measured.std[columns] = std

    def _read(self, targets: np.ndarray, columns: slice) -> None:
        """Fill `targets` from the file in bands of one chunk's rows, which stay in the processor's cache."""
        stored, here = self.own.stored, slice(0, targets.shape[1])
        for top in range(0, len(targets), len(stored)):
            band = targets[top : top + len(stored)]
            self.values.read_direct(stored, np.s_[top : top + len(band), columns], np.s_[: len(band), here])
            band[...] = stored[: len(band), here]


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
        system = _cholesky(kernel, alpha)
        z = (betas_train.values[:, voxels] - kernel.betas_mean[voxels]) / kernel.betas_std[voxels]
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
                dual = solve(system, np.asfortranarray(targets - mean), lower=1)[0]
                weights[:, block], intercept[block] = z.T @ dual, mean
            hdf5.store(file, "intercept", intercept)


def _operator(
    kernel: Kernel, alpha: float, rescale: str, dtype: np.dtype, overwrite_kernel: bool = False
) -> np.ndarray:
    """The rows that turn centred targets into centred test predictions, then for "train_oof" leave-one-out predictions.

    With M = (K + alpha I)^-1, by Cholesky, test predictions are K_test M y. The hat matrix of a ridge with intercept is
    1/n + I - alpha M, and a fit without stimulus i predicts y_i - (M y)_i / (M_ii - 1 / (n alpha)) for it, the z-score
    of the betas held fixed.

    Raises NotFinite: a row.
    """
    n_test, n_train = kernel.test.shape
    solve, invert = linalg.get_lapack_funcs(("potrs", "potri"), (kernel.train,))
    system = _cholesky(kernel, alpha, overwrite_kernel)
    operator = np.empty((n_test + n_train if rescale == "train_oof" else n_test, n_train), dtype)
    operator[:n_test] = solve(system, kernel.test.T, lower=1)[0].T
    if rescale == "train_oof":
        inverse = invert(system, lower=1, overwrite_c=1)[0]
        _mirror(inverse)
        remaining = np.diagonal(inverse) - 1 / (n_train * alpha)
        for start in range(0, n_train, MIRRORED):
            stimuli = slice(start, start + MIRRORED)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                operator[n_test:][stimuli] = -inverse[stimuli] / remaining[stimuli, None]
        operator[n_test + np.arange(n_train), np.arange(n_train)] += 1
    ids = np.concatenate([kernel.test_id, kernel.train_id])
    with finite.naming("ridge", ids):
        finite.check(operator, f"what turns features into predictions ({dtype})", "Raise the feature's ridge.alpha.")
    return operator


def _cholesky(kernel: Kernel, alpha: float, overwrite_kernel: bool = False) -> np.ndarray:
    """The lower Cholesky factor of K + alpha I; numbers above the diagonal have no meaning."""
    (factor,) = linalg.get_lapack_funcs(("potrf",), (kernel.train,))
    system = np.array(kernel.train.T, order="F", copy=None if overwrite_kernel else True)  # symmetric, so T is the same
    system[np.diag_indices(len(system))] += alpha
    system, problem = factor(system, lower=1, overwrite_a=1, clean=0)
    if problem:
        raise ValueError(
            f"alpha {alpha} is lost in the rounding of a {kernel.train.dtype} kernel; raise it, or set ridge.precision "
            "to float64"
        )
    return system


def _mirror(lower: np.ndarray) -> None:
    """Copy the lower triangle of a square matrix to its upper one, in place."""
    for start in range(0, len(lower), MIRRORED):
        stop = start + MIRRORED
        corner = np.tril(lower[start:stop, start:stop])
        lower[start:stop, start:stop] = corner + np.tril(corner, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T


def _workers_and_width(
    values: h5py.Dataset, kernel: Kernel, operator: np.ndarray, memory_gib: float
) -> tuple[int, int]:
    """How many blocks are computed at a time, one for each thread of BLAS, and how many feature columns a block has.

    A block has whole HDF5 chunks. Of each column memory holds one chunk as stored, all centred and all multiplied.
    """
    chunk = values.chunks[1] if values.chunks else 1
    n_rows, n_train = operator.shape
    per_chunk = chunk * (_rows_of_chunk(values) * values.dtype.itemsize + (n_train + n_rows) * operator.itemsize)
    fixed = PROCESS_BYTES + operator.nbytes + sum(field.nbytes for field in kernel)
    chunks = int(memory_gib * 2**30 - fixed) // per_chunk
    if chunks < 1:
        raise ValueError(
            f"memory_gib {memory_gib} is too little for {n_rows} x {n_train} stimuli; expected at least "
            f"{(fixed + per_chunk) / 2**30:.2f}."
        )
    threads = max((library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"), default=1)
    workers = min(threads, chunks)
    return workers, chunk * max(1, min(chunks // workers, WIDEST_BLOCK // chunk))


def _rows_of_chunk(values: h5py.Dataset) -> int:
    return values.chunks[0] if values.chunks else len(values)


def _centre_in_place(columns: np.ndarray, ddof: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Centre columns in place and return their mean and std; a std within rounding of a constant is 0."""
    mean = columns.mean(0, dtype=np.float64).astype(columns.dtype)
    squares = np.zeros(columns.shape[1])
    for start in range(0, len(columns), 256):  # short float32 sums, added up in float64
        part = columns[start : start + 256]
        part -= mean
        squares += np.einsum("ij,ij->j", part, part)
    std = np.sqrt(squares / (len(columns) - ddof)).astype(columns.dtype)
    return mean, np.where(std <= 4 * np.finfo(columns.dtype).eps * np.abs(mean), 0, std)


def _rescale(
    predicted: np.ndarray, out_of_fold: np.ndarray, mean: np.ndarray, std: np.ndarray, rescale: str, start: int
) -> None:
    """Bring predictions of centred targets, in place, to the targets' mean and, unless "none", to their std.

    Raises ValueError: the std of predictions of a column, counted from `start`, is not finite.
    """
    if rescale != "none":
        predicted_mean, predicted_std = _centre_in_place(predicted if rescale == "test" else out_of_fold)
        _check_std(predicted_std, start)
        if rescale == "train_oof":
            predicted -= predicted_mean
        predicted *= _ratio(std, predicted_std)
    predicted += mean


def _check_std(std: np.ndarray, start: int) -> None:
    """Raises ValueError: predictions by which others would be divided to 0 are not finite, or too large."""
    unfit = np.flatnonzero(~np.isfinite(std))
    if len(unfit):
        raise ValueError(
            f"the predictions of feature column {start + unfit[0]} have std {std[unfit[0]]} in {std.dtype} (and "
            f"{len(unfit) - 1} more columns); expected finite numbers. Check the betas and the feature."
        )


def _ratio(numerator: np.ndarray | float, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, and 0 where the denominator is 0, so that constant columns stay at their mean."""
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)
