"""The eigendecomposition of a ridge's kernel: every penalty and every rank at the price of one."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int32
from scipy import linalg
from threadpoolctl import threadpool_limits

from brain_diffuser.decoding import ridge


class Spectrum(NamedTuple):
    """Z-scored train betas X = E sqrt(L) V', components with the largest eigenvalues first.

    A ridge with penalty a fits E L / (L + a) E' y, and predicts T sqrt(L) / (L + a) E' y; y is centred.
    """

    values: Float[np.ndarray, " components"]
    """L, the eigenvalues of X X'; those that are 0 within rounding are left out."""
    train: Float[np.ndarray, "train components"]
    """E, with orthonormal columns."""
    test: Float[np.ndarray, "test components"]
    """T = X_test V, the coordinates of the test stimuli."""
    train_id: Int32[np.ndarray, " train"]
    test_id: Int32[np.ndarray, " test"]


def of_kernel(kernel: ridge.Kernel) -> Spectrum:
    """Decompose a kernel, in its own precision and space. The kernel's products are overwritten.

    Memory: with n train stimuli, or voxels where these decide the kernel's size, three matrices (n, n) in all, the
    kernel among them, and the result.
    """
    products = kernel.train if kernel.gram is None else kernel.gram
    values, vectors = eigh(products)
    is_some = values > len(values) * np.finfo(values.dtype).eps * values[0]
    values, vectors = values[is_some], vectors[:, is_some]
    with threadpool_limits(1 if len(products) <= ridge.SMALL else None, "blas"):
        if kernel.gram is None:
            train, test = vectors, kernel.test @ (vectors / np.sqrt(values))
        else:
            train, test = kernel.train @ (vectors / np.sqrt(values)), kernel.test @ vectors
    return Spectrum(values, train, test, kernel.train_id, kernel.test_id)


def eigh(
    symmetric: Float[np.ndarray, "rows rows"],
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, "rows rows"]]:
    """Eigenvalues of a symmetric matrix, largest first, and its eigenvectors in columns. The matrix is overwritten.

    The driver `evd` is used: in float32 the default one takes ten times as long and loses orthogonality.
    """
    with threadpool_limits(1 if len(symmetric) <= ridge.SMALL else None, "blas"):
        values, vectors = linalg.eigh(symmetric.T, driver="evd", overwrite_a=True, check_finite=False)
    return values[::-1].copy(), vectors[:, ::-1]


def participation_ratio(products: Float[np.ndarray, "rows rows"]) -> float:
    """(sum of eigenvalues)^2 / sum of their squares, of products of centred rows: how many dimensions vary alike."""
    return float(np.trace(products, dtype=np.float64) ** 2 / np.square(products, dtype=np.float64).sum())


def centred_products(products: Float[np.ndarray, "rows rows"]) -> Float[np.ndarray, "rows rows"]:
    """The products of rows less their mean, from the products of the rows."""
    return products - products.mean(0) - products.mean(1)[:, None] + products.mean()
