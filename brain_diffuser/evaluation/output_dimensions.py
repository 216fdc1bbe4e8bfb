"""How many dimensions decoded features have, and how many a linear decoder could give them.

A linear decoder's output is a weighted sum of its training targets. Where these are few beside the numbers of a
feature, or alike, its outputs lie along few directions whatever the brain did: output dimension collapse (Shirakawa et
al. 2024, arXiv 2405.10078). All is measured on features standardised by the training stimuli, from products of stimuli.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from scipy import linalg
from threadpoolctl import threadpool_limits

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.decoding import kernel_spectrum, ridge

BLOCK_COLUMNS = 4096
MOST_TRAINING = 10_000
"""Training stimuli whose principal components are computed; of more, a seeded sample, for the time grows cubically."""
LEAST_EIGENVALUE = 1e-6  # of the largest one; below it is rounding
LEAST_STD = 1e-6  # of the mean; a column that varies less does not vary
COMPONENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
MOST_OF = 0.9
"""The share of the variance whose components are counted."""
COLUMNS = ("of", "measure", "components", "value")
TRAINING, TRUE, DECODED, RANDOM = "training targets", "true", "decoded", "random inputs"


class Products(NamedTuple):
    """Products of standardised features, less the mean of the training stimuli.

    Parameters
    ----------
    train : (train, train)
        Of training stimuli with each other.
    cross : {what: (rows, train)}
        Of other features with them.
    own : {what: (rows, rows)}
        Of other features with each other.
    """

    train: Float64[np.ndarray, "train train"]
    cross: dict[str, Float64[np.ndarray, "_ train"]]
    own: dict[str, Float64[np.ndarray, "_ _"]]


def products(
    train: str | Path, others: Mapping[str, str | Path], rows: Sequence[int] | np.ndarray | None = None
) -> Products:
    """Products of features, streamed over columns.

    Parameters
    ----------
    train : HDF5
        The feature of the training stimuli.
    others : {what: HDF5}
        The same feature of other stimuli, or decoded ones.
    rows : (chosen,), optional
        The training stimuli that count, in rising order; all without it.

    Raises ValueError: another feature, or a number that is not finite.

    Memory: for 8,859 training and two times 982 others 1.5 GB: products in float64, one of them once more in float32,
    and a block of columns of all rows.
    """
    paths = {TRAINING: train, **others}
    with ExitStack() as stack:
        opened = {what: stack.enter_context(hdf5.reading(path, by_columns=True)) for what, path in paths.items()}
        n_columns = opened[TRAINING][0].shape[1]
        for what, (values, _) in opened.items():
            if values.shape[1] != n_columns:
                raise ValueError(
                    f"{paths[what]} has {values.shape[1]} columns and {train} {n_columns}; expected one feature. "
                    f"{hdf5.rerun(paths[what])}"
                )
        n_train = len(opened[TRAINING][1]) if rows is None else len(rows)
        of_train, part = np.zeros((n_train, n_train)), np.empty((n_train, n_train), np.float32)
        cross = {what: np.zeros((len(opened[what][1]), n_train)) for what in others}
        own = {what: np.zeros((len(opened[what][1]),) * 2) for what in others}
        for blocks in _standardised(opened, paths, rows):
            of_block = blocks.pop(TRAINING)
            of_train += np.matmul(of_block, of_block.T, out=part)
            for what, block in blocks.items():
                cross[what] += block @ of_block.T
                own[what] += block @ block.T
    return Products(of_train, cross, own)


def _standardised(
    opened: Mapping[str, Any], paths: Mapping[str, str | Path], rows: Any
) -> Iterator[dict[str, np.ndarray]]:
    """Blocks of columns of all features in float32, by the mean and std of the training stimuli; 0 in constant ones."""
    for start in range(0, opened[TRAINING][0].shape[1], BLOCK_COLUMNS):
        blocks = {}
        for what, (values, ids) in opened.items():
            block = values[:, start : start + BLOCK_COLUMNS]
            hdf5.check_finite(paths[what], block, ids)
            blocks[what] = block.astype(np.float32)
        if rows is not None:
            blocks[TRAINING] = blocks[TRAINING][rows]
        mean = blocks[TRAINING].mean(0, dtype=np.float64).astype(np.float32)
        for block in blocks.values():
            block -= mean
        std = np.sqrt(np.einsum("ij,ij->j", blocks[TRAINING], blocks[TRAINING]) / len(blocks[TRAINING]))
        varies = std > LEAST_STD * np.abs(mean)
        scale = np.divide(1, std, out=np.zeros_like(std), where=varies)
        for block in blocks.values():
            block *= scale
        yield blocks


def random_outputs(kernel: ridge.Kernel, alpha: float, n: int, seed: int) -> Float[np.ndarray, "random train"]:
    """The weights of the training targets in what a fitted ridge makes of random betas.

    Random betas are normal and independent, with each voxel's variance over the training stimuli. Their products with
    training betas X then are normal with covariance X X^T, so no betas are read. A larger scale would only multiply the
    outputs.

    Parameters
    ----------
    kernel, alpha
        Of the ridge.
    n : int
        How many.
    seed : int
        Of the random betas.
    """
    rng = np.random.default_rng(seed)
    if kernel.gram is not None:
        inputs = rng.standard_normal((n, kernel.train.shape[1])).astype(kernel.train.dtype)
    else:
        covariance = kernel.train.astype(np.float64)
        covariance[np.diag_indices_from(covariance)] += 1e-9 * np.trace(covariance) / len(covariance)
        root = linalg.cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        inputs = (rng.standard_normal((n, len(root))) @ root.T).astype(kernel.train.dtype)
    return ridge.rows_of_test(kernel._replace(test=inputs, test_id=np.arange(n, dtype=np.int32)), alpha)


def with_random(found: Products, weights: Float[np.ndarray, "random train"]) -> Products:
    """The same products with those of outputs that are weighted sums of the training targets."""
    cross = weights.astype(np.float64) @ found.train
    return Products(
        found.train, {**found.cross, RANDOM: cross}, {**found.own, RANDOM: cross @ weights.astype(np.float64).T}
    )


def participation_ratio(product: Float64[np.ndarray, "rows rows"]) -> float:
    """(sum of l)^2 / sum of l^2 over the eigenvalues l of the covariance of rows, from their products.

    From 1, where all rows lie along a line, to one less than the number of rows; 0 where rows do not vary.
    """
    centred = kernel_spectrum.centred_products(product)
    varies = np.trace(centred) > LEAST_EIGENVALUE * np.trace(product)
    return kernel_spectrum.participation_ratio(centred) if varies else 0.0


def shares_inside(found: Products) -> dict[str, Float64[np.ndarray, " components"]]:
    """The share of each set's variance inside the first k principal components of the training targets."""
    with threadpool_limits(1, "blas"):  # on busy cores the threads of its small steps wait for each other
        values, vectors = linalg.eigh(
            found.train.astype(np.float32), overwrite_a=True, check_finite=False, driver="evd"
        )
    values, vectors = values[::-1].astype(np.float64), vectors[:, ::-1]
    n_kept = int((values > LEAST_EIGENVALUE * values[0]).sum()) if values[0] > 0 else 0
    values, vectors = values[:n_kept], vectors[:, :n_kept]
    shares = {TRAINING: np.cumsum(values) / (np.trace(found.train) or 1)}
    for what, cross in found.cross.items():
        own = found.own[what]
        variance = float(np.trace(own) - own.mean(0).sum())
        inside = (((cross - cross.mean(0)).astype(np.float32) @ vectors).astype(np.float64) ** 2).sum(0) / values
        shares[what] = np.minimum(np.cumsum(inside) / variance, 1) if variance > 0 else np.full(n_kept, np.nan)
    return shares


def expressible(found: Products, what: str) -> float:
    """The share of features' variance about the training mean that weighted sums of the training targets can have.

    R^2 of the projection on the row space of the training targets: the most that any linear decoder could express. What
    rounding hides counts as not expressible.
    """
    cross, gram, total = found.cross[what], found.train.copy(), float(np.trace(found.own[what]))
    if not total:
        return float("nan")
    gram[np.diag_indices_from(gram)] += LEAST_EIGENVALUE * np.linalg.norm(gram)
    factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    weights = linalg.cho_solve(factor, cross.T, check_finite=False).T
    explained = 2 * (cross * weights).sum() - ((weights @ found.train) * weights).sum()
    return min(1.0, float(explained) / total)


def summarise(found: Products) -> list[tuple[str, str, int | str, str]]:
    """Rows of COLUMNS: shares inside components, how many hold most, participation ratios, the expressible share."""
    rows: list[tuple[str, str, int | str, str]] = []
    for what, shares in shares_inside(found).items():
        for k in sorted({*(each for each in COMPONENTS if each < len(shares)), len(shares)} - {0}):
            rows.append((what, "share_inside", k, tables.formatted(float(shares[k - 1]), ".6f")))
        reached = np.flatnonzero(shares >= MOST_OF)
        rows.append((what, "components_of_90_percent", "", str(reached[0] + 1) if len(reached) else ""))
    for what, own in {TRAINING: found.train, **found.own}.items():
        rows.append((what, "participation_ratio", "", tables.formatted(participation_ratio(own), ".4f")))
        rows.append((what, "stimuli", "", str(len(own))))
    rows.append((TRUE, "expressible", "", tables.formatted(expressible(found, TRUE), ".6f")))
    return rows


def measure(
    train: str | Path, true: str | Path, decoded: str | Path, kernel: str | Path, seed: int
) -> list[tuple[str, str, int | str, str]]:
    """Rows of COLUMNS of a feature that ridge decodes.

    Random inputs are left out where the training stimuli are sampled (`MOST_TRAINING`), and where the decoded feature
    does not say its ridge's alpha.

    Parameters
    ----------
    train, true, decoded : HDF5
        True features of the training and the test stimuli, decoded ones of the test stimuli.
    kernel : HDF5
        The ridge kernel.
    seed : int
        Of random inputs and of the sample.

    Raises ValueError: files of other stimuli or features.

    Memory: for 8,859 training and 982 test stimuli 4 GB, of 10,000 or more 5 GB.
    """
    with hdf5.reading(train) as (_, train_id), hdf5.reading(true) as (_, test_id):
        n_train, n_test = len(train_id), len(test_id)
    with hdf5.reading(decoded) as (values, decoded_id):
        hdf5.check_aligned(true, test_id, decoded, decoded_id)
        alpha = hdf5.about(values)["made_by"].get("alpha")
    if n_train > MOST_TRAINING:
        rows = np.sort(np.random.default_rng(seed).choice(n_train, MOST_TRAINING, replace=False))
        return summarise(products(train, {TRUE: true, DECODED: decoded}, rows))
    weights = None
    if alpha is not None:
        loaded = ridge.load_kernel(kernel)
        hdf5.check_aligned(kernel, loaded.train_id, train, train_id)
        weights = random_outputs(loaded, alpha, n_test, seed)
        del loaded
    found = products(train, {TRUE: true, DECODED: decoded})
    return summarise(found if weights is None else with_random(found, weights))
