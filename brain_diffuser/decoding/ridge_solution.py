"""The solution of a ridge: what turns targets into test predictions and into moments of leave-one-out predictions.

With z-scored train betas X, all of it follows from X X^T (stimulus space) or from X^T X (voxel space); the smaller
matrix is the cheaper one. Targets need not be centred exactly: a constant that is added to a column changes nothing,
because the columns of X have mean 0.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int32
from scipy import linalg

from brain_diffuser.artifacts import finite, messages

PANEL = 512  # rows of a matrix of stimuli that are multiplied at a time
MIRRORED = 1024  # rows that are mirrored at a time


class LeaveOneOut(NamedTuple):
    """Moments, over the train stimuli (ddof 0), of what each is predicted to be by a ridge of all others.

    Of centred targets; the z-score of the betas is held fixed.
    """

    mean: Float[np.ndarray, " columns"]
    std: Float[np.ndarray, " columns"]
    covariance: Float[np.ndarray, " columns"]
    """With the targets; zeros if the solution was asked for none."""


class StimulusSpace:
    """Predictions are rows times targets; leave-one-out moments are quadratic forms in the targets.

    The variance of leave-one-out predictions A y is y' Q y / n with Q = A' A, which is symmetric. A panel has rows of Q
    up to its diagonal block, what lies before that block doubled, so half of Q is stored and multiplied.

    Parameters
    ----------
    rows : (test, train)
        And one more that gives the mean of the leave-one-out predictions, if there are panels.
    squares, products : sequences of panels (stimuli, train)
        Of A' A and of the symmetric part of A.
    """

    def __init__(
        self,
        rows: Float[np.ndarray, "rows train"],
        squares: Sequence[np.ndarray] = (),
        products: Sequence[np.ndarray] = (),
    ):
        self.rows, self.squares, self.products = rows, squares, products
        self.n_test, self.dtype = len(rows) - bool(squares), rows.dtype
        self.row_sums = rows.sum(1, dtype=np.float64).astype(rows.dtype)
        self.buffer_rows: Sequence[int] = (len(rows), min(PANEL, rows.shape[1]) if squares else 0)
        """The rows of each buffer that `predict` writes to; their columns are those of the targets."""

    @property
    def nbytes(self) -> int:
        """Of the arrays that predictions are made with."""
        return sum(array.nbytes for array in (self.rows, *self.squares, *self.products))

    @property
    def products_of_a_column(self) -> int:
        """Multiplications for one column of targets."""
        return sum(array.size for array in (self.rows, *self.squares, *self.products))

    def predict(
        self,
        targets: Float[np.ndarray, "train columns"],
        offset: Float[np.ndarray, " columns"],
        buffers: Sequence[np.ndarray],
    ) -> tuple[Float[np.ndarray, "test columns"], LeaveOneOut | None]:
        """Test predictions of targets minus their mean, in the first buffer, and leave-one-out moments if asked for.

        Parameters
        ----------
        targets : array (train, columns)
            They differ from centred targets by a constant of each column.
        offset : array (columns,)
            That constant: the mean of each column.
        buffers : arrays (rows, columns)
            See `buffer_rows`.
        """
        predicted, part = buffers
        np.matmul(self.rows, targets, out=predicted)
        predicted -= np.outer(self.row_sums, offset.astype(self.dtype))
        if not self.squares:
            return predicted, None
        mean = predicted[-1].copy()
        variance = _quadratic_form(self.squares, targets, part) / len(targets)
        covariance = _quadratic_form(self.products, targets, part) / len(targets)
        return predicted[:-1], _moments(mean, variance, covariance, self.dtype)


class VoxelSpace:
    """Predictions pass through one number for each voxel: X_test (X' y), with X whitened by the Cholesky factor.

    Leave-one-out predictions are (fitted - h y) / (1 - h), h the diagonal of the hat matrix.

    Parameters
    ----------
    train, test : (stimuli, voxels)
        X L'^-1 and X_test L'^-1, L the lower Cholesky factor of X' X + alpha I.
    leverage : (train,), optional
        The diagonal of the hat matrix, with the intercept's 1 / n; None gives no leave-one-out moments.
    """

    def __init__(
        self,
        train: Float[np.ndarray, "train voxels"],
        test: Float[np.ndarray, "test voxels"],
        leverage: Float[np.ndarray, " train"] | None,
    ):
        self.train, self.test, self.leverage = train, test, leverage
        self.n_test, self.dtype = len(test), train.dtype
        self.column_sums = train.sum(0, dtype=np.float64).astype(train.dtype)
        panel = min(PANEL, len(train)) if leverage is not None else 0
        self.buffer_rows: Sequence[int] = (len(test), train.shape[1], panel, panel)

    @property
    def nbytes(self) -> int:
        """Of the arrays that predictions are made with."""
        return self.train.nbytes + self.test.nbytes

    @property
    def products_of_a_column(self) -> int:
        """Multiplications for one column of targets."""
        return self.train.size * (1 if self.leverage is None else 2) + self.test.size

    def predict(
        self,
        targets: Float[np.ndarray, "train columns"],
        offset: Float[np.ndarray, " columns"],
        buffers: Sequence[np.ndarray],
    ) -> tuple[Float[np.ndarray, "test columns"], LeaveOneOut | None]:
        """See `StimulusSpace.predict`."""
        predicted, coordinates, fitted, centred = buffers
        np.matmul(self.train.T, targets, out=coordinates)
        coordinates -= np.outer(self.column_sums, offset.astype(self.dtype))
        np.matmul(self.test, coordinates, out=predicted)
        if self.leverage is None:
            return predicted, None
        sums, squares, products = np.zeros((3, len(offset)))
        for rows in _panels(len(targets)):
            y = np.subtract(targets[rows], offset.astype(self.dtype), out=centred[: rows.stop - rows.start])
            left_out = np.matmul(self.train[rows], coordinates, out=fitted[: len(y)])
            leverage = self.leverage[rows, None]
            left_out -= leverage.astype(self.dtype) * y
            left_out *= (1 / (1 - leverage)).astype(self.dtype)
            sums += left_out.sum(0)
            squares += np.einsum("ij,ij->j", left_out, left_out)
            products += np.einsum("ij,ij->j", left_out, y)
        mean = sums / len(targets)
        variance = squares / len(targets) - mean**2
        return predicted, _moments(mean, variance, products / len(targets), self.dtype)


Solution: TypeAlias = StimulusSpace | VoxelSpace


def in_stimulus_space(
    train: Float[np.ndarray, "train train"],
    test: Float[np.ndarray, "test train"],
    alpha: float,
    dtype: np.dtype,
    ids: tuple[Int32[np.ndarray, " train"], Int32[np.ndarray, " test"]],
    *,
    leave_one_out: bool = False,
    covariance: bool = False,
    overwrite: bool = False,
) -> StimulusSpace:
    """Solve with M = (K + alpha I)^-1, by Cholesky: test predictions are K_test M y.

    The hat matrix of a ridge with intercept is 1/n + I - alpha M, and a fit without stimulus i predicts
    y_i - (M y)_i / (M_ii - 1 / (n alpha)) for it.

    Parameters
    ----------
    train, test : (train, train) and (test, train)
        The kernels X X^T and X_test X^T.
    alpha : float
        The penalty, above 0.
    dtype : dtype
        Of what targets are multiplied with.
    ids : (train, test)
        The nsd_id of the stimuli, for errors.
    leave_one_out, covariance : bool
        Whether `predict` gives leave-one-out moments, and whether with the covariance.
    overwrite : bool
        Saves a copy of `train`.

    Raises
    ------
    ValueError
        alpha is lost in rounding, or a row is not finite.

    Memory: besides `train`, one such matrix in `dtype` and half of one, or all of one with `covariance`.
    """
    (solve,) = linalg.get_lapack_funcs(("potrs",), (train,))
    system = cholesky(train, alpha, overwrite=overwrite)
    rows = np.empty((len(test) + leave_one_out, len(train)), dtype)
    rows[: len(test)] = solve(system, test.T, lower=1)[0].T
    _check(rows[: len(test)], ids[1], dtype)
    if not leave_one_out:
        return StimulusSpace(rows)
    (invert,) = linalg.get_lapack_funcs(("potri",), (train,))
    inverse = invert(system, lower=1, overwrite_c=1)[0]
    mirror(inverse)
    left_out, rows[-1] = _leave_one_out_matrix(inverse.T, alpha, dtype, ids[0])
    squares = [left_out[:, part].T @ left_out[:, : part.stop] for part in _panels(len(train))]
    products = []
    for part, panel in zip(_panels(len(train)), squares, strict=True):
        panel[:, : part.start] *= 2
        if covariance:
            products.append(left_out[part, : part.stop].copy())
            products[-1][:, : part.start] += left_out[: part.start, part].T
    return StimulusSpace(rows, squares, products)


def in_voxel_space(
    train: Float[np.ndarray, "train voxels"],
    test: Float[np.ndarray, "test voxels"],
    gram: Float[np.ndarray, "voxels voxels"],
    alpha: float,
    dtype: np.dtype,
    ids: tuple[Int32[np.ndarray, " train"], Int32[np.ndarray, " test"]],
    *,
    leave_one_out: bool = False,
    overwrite: bool = False,
) -> VoxelSpace | StimulusSpace:
    """Solve with X' X + alpha I = L L', by Cholesky, for betas of more stimuli than voxels.

    Parameters
    ----------
    train, test : (stimuli, voxels)
        Z-scored betas X and X_test.
    gram : (voxels, voxels)
        X^T X.
    alpha, dtype, ids, leave_one_out, overwrite
        As of `in_stimulus_space`.

    Returns
    -------
    VoxelSpace, or StimulusSpace where multiplying with (test, train) is less than with (voxels, train).

    Raises
    ------
    ValueError
        As `in_stimulus_space`.

    Memory: besides the arguments, X in `dtype` if that is another one.
    """
    (solve,) = linalg.get_blas_funcs(("trsm",), (gram,))
    factor = cholesky(gram, alpha, overwrite=overwrite)
    white = solve(1.0, factor, train.T, lower=1, overwrite_b=overwrite).T
    white_test = solve(1.0, factor, test.T, lower=1).T
    leverage = np.einsum("ij,ij->i", white, white, dtype=np.float64) + 1 / len(train) if leave_one_out else None
    if leverage is not None:
        with np.errstate(divide="ignore"):
            _check((1 / (1 - leverage)[:, None]).astype(dtype), ids[0], dtype)
    _check(white_test.astype(dtype), ids[1], dtype)
    n_products = len(test) * len(train), gram.shape[0] * (len(test) + len(train))
    if leverage is None and n_products[0] <= n_products[1]:
        return StimulusSpace((white_test @ white.T).astype(dtype, copy=False))
    return VoxelSpace(white.astype(dtype, copy=False), white_test.astype(dtype, copy=False), leverage)


def cholesky(
    matrix: Float[np.ndarray, "rows rows"], alpha: float, *, overwrite: bool = False
) -> Float[np.ndarray, "rows rows"]:
    """The lower Cholesky factor of a symmetric matrix + alpha I; numbers above the diagonal have no meaning.

    Raises ValueError: alpha is lost in the matrix' rounding.
    """
    (factor,) = linalg.get_lapack_funcs(("potrf",), (matrix,))
    system = np.array(matrix.T, order="F", copy=None if overwrite else True)  # symmetric, so T is the same
    system[np.diag_indices(len(system))] += alpha
    system, problem = factor(system, lower=1, overwrite_a=1, clean=0)
    if problem:
        raise ValueError(
            f"alpha {alpha} is lost in the rounding of a {matrix.dtype} kernel; raise it, or set ridge.precision "
            "to float64"
        )
    return system


def mirror(lower: Float[np.ndarray, "rows rows"]) -> None:
    """Copy the lower triangle of a square matrix to its upper one, in place."""
    for start in range(0, len(lower), MIRRORED):
        stop = start + MIRRORED
        corner = np.tril(lower[start:stop, start:stop])
        lower[start:stop, start:stop] = corner + np.tril(corner, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T


def _leave_one_out_matrix(
    inverse: Float[np.ndarray, "train train"], alpha: float, dtype: np.dtype, train_id: Int32[np.ndarray, " train"]
) -> tuple[Float[np.ndarray, "train train"], Float[np.ndarray, " train"]]:
    """The matrix that turns targets into centred leave-one-out predictions, and the row that gives their mean."""
    n = len(inverse)
    remaining = np.diagonal(inverse) - 1 / (n * alpha)
    matrix, column_sums = np.empty((n, n), dtype), np.zeros(n)
    for part in _panels(n):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            block = -inverse[part].astype(np.float64) / remaining[part, None]
            block[:, part][np.diag_indices(len(block))] += 1
            block -= block.mean(1, keepdims=True)
            matrix[part] = block
        _check(matrix[part], train_id[part], dtype)
        column_sums += block.sum(0)
    for part in _panels(n):
        matrix[part] -= (column_sums / n).astype(dtype)
    return matrix, column_sums / n


def _check(rows: np.ndarray, ids: np.ndarray, dtype: np.dtype) -> None:
    """Raises NotFinite: a row of what targets are multiplied with."""
    what: messages.Sentence = f"what turns features into predictions ({dtype})"
    with finite.naming("ridge", ids):
        finite.check(rows, what, "Raise the feature's ridge.alpha.")


def _panels(n_rows: int) -> Iterator[slice]:
    """The rows in panels."""
    for start in range(0, n_rows, PANEL):
        yield slice(start, min(start + PANEL, n_rows))


def _quadratic_form(
    panels: Sequence[np.ndarray], targets: Float[np.ndarray, "train columns"], part: np.ndarray
) -> Float[np.ndarray, " columns"]:
    """y' Q y of each column y of the targets, Q given by the panels of `StimulusSpace`."""
    total = np.zeros(targets.shape[1])
    start = 0
    for panel in panels:
        stop = start + len(panel)
        product = np.matmul(panel, targets[:stop], out=part[: len(panel)])
        total += np.einsum("ij,ij->j", product, targets[start:stop])
        start = stop
    return total


def _moments(mean: np.ndarray, variance: np.ndarray, covariance: np.ndarray, dtype: np.dtype) -> LeaveOneOut:
    """The moments in one precision; a std within rounding of a constant is 0."""
    std = np.sqrt(np.maximum(variance, 0))
    std = np.where(std <= 4 * np.finfo(dtype).eps * np.abs(mean), 0, std)
    return LeaveOneOut(mean.astype(dtype), std.astype(dtype), covariance.astype(dtype))
