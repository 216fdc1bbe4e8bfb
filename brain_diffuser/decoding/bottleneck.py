"""Ridge through a bottleneck of k dimensions that all features share: how few numbers of a brain are enough?

Among all maps of rank k from betas X to the features Y_f, one has the least ridge loss, sum over features f of
w_f (|| Y_f - X B_f ||^2 + a || B_f ||^2), and it has a closed form. With X X' = E L E' (`kernel_spectrum.Spectrum`) and
S = E (L / (L + a))^(1/2) E', the square root of the ridge's hat matrix, let U be the eigenvectors of S G S with
G = sum_f w_f Y_f Y_f', the largest eigenvalues first. The k numbers of test stimuli are Z = T (L + a)^(-1/2) E' U_k,
with the first k columns of U, and their features Z U_k' S Y_f. With all U this is the ridge itself. Two curves stand
beside it: the first k principal components of the train betas (U = E), which do not look at features, and a ridge on
noise in place of betas.

Source: BrainBits (Mayo et al. 2024, arXiv 2411.02783).
Differs from the reference: a closed form in place of AdamW with early stopping on held-out stimuli, so without a seed
and with one penalty; features are weighed by their total variance unless `weights` is "brainbits".
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Float, Float32, Int32
from scipy import linalg
from threadpoolctl import threadpool_limits

from brain_diffuser.artifacts import finite, hdf5
from brain_diffuser.decoding import kernel_spectrum, ridge, ridge_solution, ridge_stream

logger = logging.getLogger(__name__)

BLOCK_COLUMNS = 2048
WEIGHTS = ("equal", "brainbits")
BRAINBITS = {"vdvae": 1.0, "clip_text": 2.0, "clip_vision": 4.0}
"""Weights of the mean squared errors in BrainBits' loss; 1 for other features."""
NOISE = 17  # tells the seeds of noise betas from others


class Basis(NamedTuple):
    """Maps from centred train targets to test predictions: left[:, :k] @ right[:k] is the map of rank k."""

    bottleneck_left: Float32[np.ndarray, "test ranks"]
    bottleneck_right: Float32[np.ndarray, "ranks train"]
    pca_left: Float32[np.ndarray, "test components"]
    """Of the first principal components of the train betas."""
    pca_right: Float32[np.ndarray, "components train"]
    ridge: Float32[np.ndarray, "test train"]
    """Without a bottleneck."""
    noise: Float32[np.ndarray, "test train"]
    """A ridge with the same penalty on seeded noise in place of all betas."""
    train_id: Int32[np.ndarray, " train"]
    test_id: Int32[np.ndarray, " test"]
    participation: Float[np.ndarray, " two"]
    """Participation ratios of the train betas, and of the test betas in their space."""


def make(
    kernel: ridge.Kernel,
    features: Mapping[str, str | Path],
    *,
    alpha: float,
    most: int,
    weights: str,
    share: float,
    seed: int,
) -> Basis:
    """The maps of all ranks up to `most`.

    Parameters
    ----------
    kernel
        Of the betas; its products are overwritten.
    features : {name: HDF5}
        The train stimuli's features that share the bottleneck.
    alpha : float
        The penalty, above 0, one for all features.
    most : int
        The highest rank.
    weights : "equal" or "brainbits"
        Features count equally by their total variance, or as in BrainBits: 1, 2, 4 times the mean squared error.
    share : float
        Of the columns of every feature that the bottleneck is computed from, above 0 to 1, drawn at random.
    seed : int
        Of the noise betas and of the columns.

    Raises
    ------
    ValueError
        A penalty of 0 or below, unknown weights, other stimuli than the kernel's, or a number that is not finite.

    Memory: with n train stimuli, three matrices (n, n) in the kernel's precision, and two in float32.
    """
    if alpha <= 0:
        raise ValueError(f"bottleneck.alpha must be > 0, got {alpha}")
    if weights not in WEIGHTS:
        raise ValueError(f"bottleneck.weights must be one of {', '.join(WEIGHTS)}, got {weights}")
    noise = _rows_of_noise(kernel, alpha, seed)
    spectrum = kernel_spectrum.of_kernel(kernel)
    options = {"weights": weights, "share": share, "seed": seed}
    maps = of_spectrum(spectrum, target_products(features, spectrum.train_id, **options), alpha, most)
    return maps._replace(noise=noise)


def of_spectrum(
    spectrum: kernel_spectrum.Spectrum, products: Float[np.ndarray, "train train"], alpha: float, most: int
) -> Basis:
    """The maps of all ranks, from the betas' spectrum and G, the products of weighted targets; no noise.

    Memory: two matrices (train, train) besides the arguments.
    """
    e, values = spectrum.train, spectrum.values
    shrunk = np.sqrt(values / (values + alpha))
    to_test = spectrum.test / np.sqrt(values + alpha)
    most = min(most, len(values))
    with threadpool_limits(1 if len(e) <= ridge.SMALL else None, "blas"):
        products, inner = products.astype(e.dtype, copy=False), np.empty((len(values), len(values)), e.dtype)
        for start in range(0, len(values), BLOCK_COLUMNS):
            part = slice(start, start + BLOCK_COLUMNS)
            inner[:, part] = shrunk[:, None] * (e.T @ (products @ (e[:, part] * shrunk[part])))
        first = [len(inner) - most, len(inner) - 1]
        _, found = linalg.eigh(inner.T, subset_by_index=first, overwrite_a=True, check_finite=False)
        directions = found[:, ::-1]
        ridge_rows = to_test * shrunk @ e.T
        of_test = kernel_spectrum.centred_products(spectrum.test @ spectrum.test.T)
        return Basis(
            (to_test @ directions).astype(np.float32),
            ((directions * shrunk[:, None]).T @ e.T).astype(np.float32),
            to_test[:, :most].astype(np.float32),
            (e[:, :most] * shrunk[:most]).T.astype(np.float32),
            ridge_rows.astype(np.float32),
            np.zeros_like(ridge_rows, np.float32),
            spectrum.train_id,
            spectrum.test_id,
            np.array([kernel_spectrum.participation_ratio(each) for each in (np.diag(values), of_test)]),
        )


def target_products(
    features: Mapping[str, str | Path],
    train_id: Int32[np.ndarray, " train"],
    *,
    weights: str,
    share: float = 1.0,
    seed: int = 0,
) -> Float32[np.ndarray, "train train"]:
    """G = sum over features of w_f Y_f Y_f', of centred targets.

    Parameters
    ----------
    features : {name: HDF5}
        Of the train stimuli.
    train_id : (train,)
        The stimuli that these have to be.
    weights, share, seed
        As of `make`.

    Raises
    ------
    ValueError
        Other stimuli, a number that is not finite, or no feature that varies.

    Memory: two matrices (train, train) in float32, and a block of columns.
    """
    total = np.zeros((len(train_id), len(train_id)), np.float32, order="F")
    (add,) = linalg.get_blas_funcs(("syrk",), (total,))
    for name, path in features.items():
        of_feature, n_columns = np.zeros_like(total, order="F"), 0
        with hdf5.reading(path, by_columns=True) as (values, nsd_id):
            hdf5.check_aligned("the ridge kernel", train_id, path, nsd_id)
            kept = np.random.default_rng((seed, values.shape[1])).random(values.shape[1]) < share
            for _, block in blocks(values, path, nsd_id, kept):
                n_columns += block.shape[1]
                of_feature = add(1.0, block.T, beta=1.0, c=of_feature, trans=1, lower=1, overwrite_c=1)
        variance = float(np.trace(of_feature, dtype=np.float64))
        if not variance > 0:
            logger.warning("%s does not vary over the train stimuli, so the bottleneck leaves it out", path)
            continue
        of_feature *= 1 / variance if weights == "equal" else BRAINBITS.get(name, 1.0) / n_columns
        total += of_feature
    if not total.any():
        raise ValueError(f"none of {', '.join(features)} varies over {len(train_id)} train stimuli; check the stimuli")
    ridge_solution.mirror(total)
    return total


def blocks(
    values: h5py.Dataset,
    path: str | Path,
    nsd_id: Int32[np.ndarray, " stimuli"],
    kept: Bool[np.ndarray, " columns"] | None = None,
) -> Iterator[tuple[slice, Float32[np.ndarray, "stimuli block"]]]:
    """Blocks of columns of a feature in float32, centred over its stimuli; `kept` leaves columns out.

    Raises ValueError: a number is not finite.
    """
    for start in range(0, values.shape[1], BLOCK_COLUMNS):
        columns = slice(start, min(start + BLOCK_COLUMNS, values.shape[1]))
        block = values[:, columns].astype(np.float32)
        if kept is not None and not kept[columns].all():
            block = np.ascontiguousarray(block[:, kept[columns]])
        hdf5.check_finite(path, block, nsd_id)
        ridge_stream.centre_in_place(block)
        yield columns, block


def _rows_of_noise(kernel: ridge.Kernel, alpha: float, seed: int) -> Float32[np.ndarray, "test train"]:
    """What turns targets into predictions of a ridge on noise betas, as many and z-scored as the measured ones are."""
    n_train, n_test, dtype = len(kernel.train_id), len(kernel.test_id), kernel.train.dtype
    products, cross = np.zeros((n_train, n_train), dtype, order="F"), np.zeros((n_test, n_train), dtype)
    (add,) = linalg.get_blas_funcs(("syrk",), (products,))
    with threadpool_limits(1 if n_train <= ridge.SMALL else None, "blas"):
        for start in range(0, len(kernel.betas_mean), BLOCK_COLUMNS):
            width = min(BLOCK_COLUMNS, len(kernel.betas_mean) - start)
            drawn = np.random.default_rng((seed, NOISE, start)).standard_normal((n_train + n_test, width), np.float32)
            train, test = drawn[:n_train].astype(dtype), drawn[n_train:].astype(dtype)
            mean, std = ridge_stream.centre_in_place(train, ddof=1)
            train /= std
            products = add(1.0, train.T, beta=1.0, c=products, trans=1, lower=1, overwrite_c=1)
            cross += ((test - mean) / std) @ train.T
        ridge_solution.mirror(products)
        ids = kernel.train_id, kernel.test_id
        return ridge_solution.in_stimulus_space(products.T, cross, alpha, np.dtype("float32"), ids, overwrite=True).rows


def save(path: str | Path, basis: Basis, alpha: float) -> None:
    """Write maps to HDF5, one dataset per field; the file appears whole or not at all."""
    with hdf5.writing(path) as file:
        file.attrs["alpha"] = alpha
        for name, values in basis._asdict().items():
            hdf5.store(file, name, values)


def load(path: str | Path) -> Basis:
    """Read the maps that `save` wrote.

    Raises ValueError: one is missing, or a number is not finite.
    """
    with hdf5.opening(path) as file:
        missing = sorted(set(Basis._fields) - set(file))
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}; expected maps of a bottleneck. {hdf5.rerun(path)}")
        stored = {name: np.asarray(file[name]) for name in Basis._fields}
    for name, values in stored.items():
        if finite.rows_not_finite(values):
            raise ValueError(f"{path}: {name} has numbers that are not finite. {hdf5.rerun(path)}")
    return Basis(**stored)


def predict(basis: Basis, features_train: str | Path, predicted_test: str | Path, *, rank: int, rescale: bool) -> None:
    """Write the features that are predicted through a bottleneck of some rank.

    Parameters
    ----------
    basis
        The maps.
    features_train : path
        HDF5 of the train stimuli's features.
    predicted_test : path
        The HDF5 that is written, with the axes and unit of the features.
    rank : int
        Dimensions of the bottleneck.
    rescale : bool
        Whether predictions get the std of the train targets, by their own std over the test stimuli, as in BrainBits
        and Brain-Diffuser. (Leave-one-out predictions have no closed form, since the bottleneck depends on all
        targets.)

    Raises
    ------
    ValueError
        A rank that the maps do not have, other stimuli, or one test stimulus with `rescale`.
    """
    left, right = basis.bottleneck_left, basis.bottleneck_right
    if not 0 < rank <= left.shape[1]:
        raise ValueError(f"rank {rank} was asked for; expected 1 to {left.shape[1]}, so change the rank")
    if rescale and len(left) == 1:
        raise ValueError("predictions of 1 test stimulus have no std to be rescaled by; set ridge.rescale to none")
    with hdf5.reading(features_train, by_columns=True) as (values, nsd_id):
        hdf5.check_aligned("the maps of the bottleneck", basis.train_id, features_train, nsd_id)
        known: dict[str, Any] = hdf5.about(values)
        chunk = hdf5.feature_chunks(len(left), values.shape[1], 4)
        attrs = {"rank": rank, "rescale": "test" if rescale else "none"}
        with hdf5.create(
            predicted_test, (len(left), *known["shape"]), np.float32, basis.test_id,
            axes=known["axes"], unit=known["unit"], attrs=attrs, chunk=chunk, by_columns=True,
        ) as predicted:  # fmt: skip
            for start in range(0, values.shape[1], BLOCK_COLUMNS):
                block = values[:, start : start + BLOCK_COLUMNS].astype(np.float32)
                hdf5.check_finite(features_train, block, nsd_id)
                mean, std = ridge_stream.centre_in_place(block)
                made = left[:, :rank] @ (right[:rank] @ block)
                if rescale:
                    _, own = ridge_stream.centre_in_place(made)
                    made *= np.divide(std, own, out=np.zeros_like(std), where=own > 0)
                predicted[:, start : start + BLOCK_COLUMNS] = made + mean
