"""Features of the train stimuli pass through a ridge in blocks of columns, from file to file."""

import logging
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Float, Int32
from threadpoolctl import threadpool_info, threadpool_limits

from brain_diffuser.artifacts import finite, hdf5
from brain_diffuser.decoding import ridge_solution

logger = logging.getLogger(__name__)

WIDEST_BLOCK = 2048  # columns; beyond it a matrix product gets no faster
CACHED_ROWS = 64  # of a block, which stay in the processor's cache from one operation to the next
HALF_EXPONENTS = np.float32(2.0**112)  # 2 to the difference of the biases of float32 and float16
HALF_BITS = np.int32(-0x70002000)  # of a float32: the sign, and what bits of a float16 become when they move by 13
HALF_END = 2.0**16  # beyond the largest finite float16


class Targets(NamedTuple):
    """A block of columns of a feature, less a constant of each column, in which long sums lose fewer digits."""

    values: Float[np.ndarray, "train columns"]
    offset: Float[np.ndarray, " columns"]
    """The mean of `values`."""
    mean: Float[np.ndarray, " columns"]
    """The mean of the feature."""
    std: Float[np.ndarray, " columns"]
    """Its std (ddof 0); 0 if that is within rounding of a constant."""


class Reliabilities(NamedTuple):
    """What is measured of every column while it passes; see `ridge.Reliability`."""

    correlation: Float[np.ndarray, " features"]
    std: Float[np.ndarray, " features"]


class Stream:
    """Predictions of one block of feature columns after the other; every thread has buffers of its own.

    Parameters
    ----------
    values : h5py.Dataset (train, features)
        The feature.
    train_id : (train,)
        The nsd_id of its rows.
    predicted : h5py.Dataset (test, features)
        Is written.
    solution : ridge_solution.Solution
    rescale : "train_oof", "test" or "none"
        As of `ridge.predict`.
    measured : Reliabilities, optional
        Is filled.
    """

    def __init__(
        self,
        values: h5py.Dataset,
        train_id: Int32[np.ndarray, " train"],
        predicted: h5py.Dataset,
        solution: ridge_solution.Solution,
        rescale: str,
        measured: Reliabilities | None,
    ):
        self.values, self.train_id, self.predicted = values, train_id, predicted
        self.solution, self.rescale, self.measured = solution, rescale, measured
        self.own = threading.local()  # fresh memory for each block would take longer than the product

    def run(self, workers: int, width: int) -> None:
        """Predict all columns, `workers` blocks of `width` columns at a time.

        Raises ValueError: targets or predictions are not finite.
        """
        n_features = self.values.shape[1]
        with (
            threadpool_limits(1, "blas"),  # a product on each core keeps all busier than one product on all
            ThreadPoolExecutor(workers, initializer=self._make_buffers, initargs=(width,)) as pool,
        ):
            starts = range(0, n_features, width)
            for _ in pool.map(lambda start: self._predict(slice(start, min(start + width, n_features))), starts):
                pass

    def _make_buffers(self, width: int) -> None:
        dtype = self.solution.dtype
        self.own.stored = np.empty((rows_of_chunk(self.values), width), self.values.dtype)
        self.own.targets = np.empty((len(self.values), width), dtype)
        self.own.buffers = [np.empty((rows, width), dtype) for rows in self.solution.buffer_rows]

    def _predict(self, columns: slice) -> None:
        targets = self._read(columns)
        buffers = [buffer[:, : columns.stop - columns.start] for buffer in self.own.buffers]
        predicted, left_out = self.solution.predict(targets.values, targets.offset, buffers)
        if left_out is not None:
            _check_std(left_out.std, columns.start)
        if self.rescale == "test":
            _, std = centre_in_place(predicted)
            _check_std(std, columns.start)
            predicted *= _ratio(targets.std, std)
        elif self.rescale == "train_oof" and left_out is not None:
            predicted -= left_out.mean
            predicted *= _ratio(targets.std, left_out.std)
        predicted += targets.mean
        self.predicted[:, columns] = predicted
        if self.measured and left_out is not None:
            self.measured.correlation[columns] = _ratio(left_out.covariance, left_out.std * targets.std)
            self.measured.std[columns] = targets.std

    def _read(self, columns: slice) -> Targets:
        """Read a block of columns, in bands of one chunk's rows, and take its mean and std as it passes the cache."""
        stored, width = self.own.stored, columns.stop - columns.start
        values = self.own.targets[:, :width]
        shift, sums, squares = np.zeros(width, values.dtype), np.zeros(width), np.zeros(width)
        with np.errstate(invalid="ignore", over="ignore"):
            for top in range(0, len(values), len(stored)):
                band = values[top : top + len(stored)]
                self.values.read_direct(stored, np.s_[top : top + len(band), columns], np.s_[: len(band), :width])
                for start in range(0, len(band), CACHED_ROWS):
                    part = band[start : start + CACHED_ROWS]
                    widen(stored[start : start + len(part), :width], part)
                    if top == start == 0:
                        shift = part.mean(0, dtype=np.float64).astype(part.dtype)
                    part -= shift
                    sums += part.sum(0)
                    squares += np.einsum("ij,ij->j", part, part)
            offset = sums / len(values)
            mean, variance = shift + offset, squares / len(values) - offset**2
            std = np.sqrt(np.maximum(variance, 0))
        self._check(columns, mean, std)
        std[std <= 4 * np.finfo(values.dtype).eps * np.abs(mean)] = 0
        return Targets(values, offset, mean.astype(values.dtype), std.astype(values.dtype))

    def _check(self, columns: slice, mean: np.ndarray, std: np.ndarray) -> None:
        """Raises ValueError: a target is not finite, or the sum of a column's squares."""
        unfit = ~np.isfinite(std.astype(self.solution.dtype))
        if self.values.dtype == np.float16:  # `widen` makes large numbers of what is not finite
            large = len(self.values) * (mean**2 + std**2) >= HALF_END**2
            if large.any():
                unfit |= large & ~np.isfinite(self.values[:, columns]).all(0)
        if not unfit.any():
            return
        column = columns.start + int(np.flatnonzero(unfit)[0])
        path, numbers = self.values.file.filename, self.values[:, column]
        rows = finite.rows_not_finite(numbers)
        if rows:
            value = finite.first_not_finite(numbers[rows[0]])
            raise finite.NotFinite(f"feature column {column}", rows, value, hdf5.rerun(path)).of(path, self.train_id)
        largest = int(np.argmax(np.abs(numbers)))
        raise ValueError(
            f"{path} has {numbers[largest]:g} in feature column {column} for nsd_id {self.train_id[largest]}, whose "
            f"square {self.solution.dtype} cannot hold; expected numbers below 1e18. {hdf5.rerun(path)}"
        )


def widen(stored: np.ndarray, wide: np.ndarray) -> None:
    """Copy numbers to an array of another precision; float16 to float32 by moving bits, five times faster than numpy.

    A float16 that is not finite becomes a number of at least 65536.
    """
    if (stored.dtype, wide.dtype) != (np.float16, np.float32):
        wide[...] = stored
        return
    bits = wide.view(np.int32)
    bits[...] = stored.view(np.int16)
    bits <<= 13
    bits &= HALF_BITS
    wide *= HALF_EXPONENTS


def workers_and_width(
    values: h5py.Dataset, chunk_columns: int, buffer_rows: Sequence[int], itemsize: int, free: float
) -> tuple[int, int]:
    """How many blocks are computed at a time, one for each thread of BLAS, and how many feature columns a block has.

    Parameters
    ----------
    values : h5py.Dataset (train, features)
        The feature; a block has whole chunks of it.
    chunk_columns : int
        Of the predictions' chunks; a block has whole ones, if it can.
    buffer_rows : sequence of int
        See `ridge_solution.Solution`.
    itemsize : int
        Bytes of a number of the buffers.
    free : float
        Bytes that blocks may take; at least one block is computed.
    """
    chunk = values.chunks[1] if values.chunks else 1
    per_column = bytes_of_a_column(values, buffer_rows, itemsize)
    threads = max((library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"), default=1)
    workers = max(1, min(threads, int(free // (chunk * per_column))))
    chunks = max(1, min(int(free // (chunk * per_column)) // workers, WIDEST_BLOCK // chunk))
    both = math.lcm(chunk, chunk_columns) // chunk
    return workers, chunk * (chunks // both * both or chunks)


def bytes_of_a_column(values: h5py.Dataset, buffer_rows: Sequence[int], itemsize: int) -> int:
    """Of what a thread holds: one chunk as stored, all targets, and the solution's buffers."""
    return rows_of_chunk(values) * values.dtype.itemsize + (len(values) + sum(buffer_rows)) * itemsize


def rows_of_chunk(values: h5py.Dataset) -> int:
    """The rows of a chunk of the file."""
    return values.chunks[0] if values.chunks else len(values)


def centre_in_place(columns: np.ndarray, ddof: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Centre columns in place and return their mean and std; a std within rounding of a constant is 0."""
    mean = columns.mean(0, dtype=np.float64).astype(columns.dtype)
    squares = np.zeros(columns.shape[1])
    for start in range(0, len(columns), 256):  # short float32 sums, added up in float64
        part = columns[start : start + 256]
        part -= mean
        squares += np.einsum("ij,ij->j", part, part)
    std = np.sqrt(squares / (len(columns) - ddof)).astype(columns.dtype)
    return mean, np.where(std <= 4 * np.finfo(columns.dtype).eps * np.abs(mean), 0, std)


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
