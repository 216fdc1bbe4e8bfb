"""Scores of decoded features that linear maps predict, without a prediction being stored.

A map of rank k turns centred train targets Y into test predictions left[:, :k] @ (right[:k] @ Y). Correlations of all
pairs of a prediction and a true feature need sums over columns alone, which are taken of right @ Y, so that all ranks
of a map cost one pass through the features. Features count relative to the mean of the train stimuli, and predictions
are not rescaled: how much a map shrinks them as a whole changes no correlation.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int32

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge_stream
from brain_diffuser.evaluation import generalisation

BLOCK_COLUMNS = 2048
MEASURES = ("correlation", "two_way")
"""Of each test stimulus: the correlation of its decoded with its true feature, over the feature's columns; and the
share of other test stimuli whose true feature correlates less with the decoded one."""


class Map(NamedTuple):
    """What turns centred train targets into test predictions; without `left` the rows of `right` predict."""

    right: Float[np.ndarray, "rows train"]
    left: Float[np.ndarray, "test rows"] | None = None


class Sums(NamedTuple):
    """Sums over columns of a feature: of rows = right @ targets of a map, and of the true features of test stimuli."""

    rows: Float[np.ndarray, " rows"]
    products: Float[np.ndarray, "rows rows"]
    with_true: Float[np.ndarray, "rows test"]
    true: Float[np.ndarray, " test"]
    products_of_true: Float[np.ndarray, "test test"]
    n_columns: int


def sums(
    maps: Mapping[str, Map],
    features_train: str | Path,
    features_test: str | Path,
    train_id: Int32[np.ndarray, " train"],
    test_id: Int32[np.ndarray, " test"],
    kept: Bool[np.ndarray, " columns"] | None = None,
) -> dict[str, Sums]:
    """The sums of every map over the columns of a feature, read once.

    Parameters
    ----------
    maps : {name: map}
    features_train, features_test : paths
        HDF5s of a feature.
    train_id, test_id
        The stimuli that these have to be of.
    kept : (columns,), optional
        Which columns count; all if not given.

    Raises
    ------
    ValueError
        Other stimuli, another feature, or a number that is not finite.

    Memory: the maps in float32, and of each map (rows, rows) and (rows, test) in float64.
    """
    rights = [np.ascontiguousarray(each.right, np.float32) for each in maps.values()]
    n_test = len(test_id)
    totals = [(np.zeros(len(one)), np.zeros((len(one), len(one))), np.zeros((len(one), n_test))) for one in rights]
    true, products_of_true, n_columns = np.zeros(n_test), np.zeros((n_test, n_test)), 0
    with (
        hdf5.reading(features_train, by_columns=True) as (train, found_train),
        hdf5.reading(features_test, by_columns=True) as (test, found_test),
    ):
        hdf5.check_aligned("the maps", train_id, features_train, found_train)
        hdf5.check_aligned("the maps", test_id, features_test, found_test)
        if train.shape[1] != test.shape[1]:
            raise ValueError(
                f"{features_train} has {train.shape[1]} columns and {features_test} {test.shape[1]}; expected one "
                f"feature. {hdf5.rerun(features_test)}"
            )
        for start in range(0, train.shape[1], BLOCK_COLUMNS):
            columns = slice(start, min(start + BLOCK_COLUMNS, train.shape[1]))
            if kept is not None and not kept[columns].any():
                continue
            y, y_test = train[:, columns].astype(np.float32), test[:, columns].astype(np.float32)
            if kept is not None:
                y, y_test = y[:, kept[columns]], y_test[:, kept[columns]]
            hdf5.check_finite(features_train, y, found_train)
            hdf5.check_finite(features_test, y_test, found_test)
            mean, _ = ridge_stream.centre_in_place(y)
            y_test -= mean
            n_columns += y.shape[1]
            true += y_test.sum(1, dtype=np.float64)
            products_of_true += y_test @ y_test.T
            for right, (rows, products, with_true) in zip(rights, totals, strict=True):
                made = right @ y
                rows += made.sum(1, dtype=np.float64)
                products += made @ made.T
                with_true += made @ y_test.T
    return {name: Sums(*of_map, true, products_of_true, n_columns) for name, of_map in zip(maps, totals, strict=True)}


def of_true(found: Sums) -> Sums:
    """The sums of the true features in place of predictions: the ceiling."""
    return found._replace(rows=found.true, products=found.products_of_true, with_true=found.products_of_true)


def prediction_products(
    found: Sums, left: Float[np.ndarray, "test rows"] | None, rank: int | None = None
) -> tuple[Float[np.ndarray, "test test"], Float[np.ndarray, "test test"], Float[np.ndarray, " test"]]:
    """Sums over columns of predictions: their products with each other and with true features, and of themselves."""
    rows = slice(rank)
    if left is None:
        return found.products, found.with_true, found.rows
    z = left[:, rows].astype(np.float64)
    return z @ found.products[rows, rows] @ z.T, z @ found.with_true[rows], z @ found.rows[rows]


def scores(
    found: Sums, left: Float[np.ndarray, "test rows"] | None = None, rank: int | None = None
) -> dict[str, Float[np.ndarray, " test"]]:
    """The measures of every test stimulus, NaN where a feature does not vary; see `MEASURES`.

    Parameters
    ----------
    found
        Sums of a map.
    left : (test, rows), optional
        Of that map, if it has one.
    rank : int, optional
        Rows of the map that count; all if not given.
    """
    products, with_true, of_predictions = prediction_products(found, left, rank)
    n = found.n_columns
    lengths = [
        np.sqrt(np.maximum(np.diagonal(square) - total**2 / n, 0))
        for square, total in ((products, of_predictions), (found.products_of_true, found.true))
    ]
    lengths = [np.where(each > 0, each, np.nan) for each in lengths]
    correlation = (with_true - np.outer(of_predictions, found.true) / n) / np.outer(*lengths)
    own, together = np.arange(len(correlation)), np.zeros(len(correlation), np.int64)
    two_way = generalisation.identified(correlation, own, together)
    return dict(zip(MEASURES, (np.diagonal(correlation).copy(), two_way), strict=True))
