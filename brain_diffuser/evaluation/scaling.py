"""How scores of decoded features grow with data: train stimuli, repeats of each, length of the recording, voxels.

Every amount of data has a ridge of its own, whose penalty leave-one-out chooses for it on its train stimuli, so that
curves show data and not a penalty that was made for all of them. Fewer stimuli are a block of one kernel, centred
again; the z-score of the betas keeps the standard deviations of all train stimuli. Test stimuli, with all of their
repeats, are the same throughout. Features count relative to the mean of all train stimuli, on a sample of columns.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Int32
from threadpoolctl import threadpool_limits

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import stimulus_table
from brain_diffuser.decoding import kernel_spectrum, ridge, ridge_alpha
from brain_diffuser.evaluation import generalisation, linear_maps, statistics

logger = logging.getLogger(__name__)

MOST_CHOOSING = 256  # of a feature's columns, by which a penalty is chosen: it is the same for all of them


class Condition(NamedTuple):
    """An amount of data, and what a ridge has of it."""

    axis: str
    amount: float
    """Of what the axis counts."""
    draw: int
    stimuli: int
    repeats: float
    """Mean over train stimuli."""
    voxels: int


class Targets(NamedTuple):
    """Sampled columns of a feature of all train stimuli and of the test stimuli, less the mean of the former."""

    train: Float[np.ndarray, "train columns"]
    test: Float[np.ndarray, "test columns"]


class Scored(NamedTuple):
    """The scores of a condition."""

    condition: Condition
    alpha: Mapping[str, float]
    """The penalty of each feature."""
    scores: Mapping[str, Mapping[str, Float[np.ndarray, " test"]]]
    """Of the test stimuli, by feature and measure."""


def restricted(splits: Mapping[str, stimulus_table.Stimuli], axis: str, amount: float) -> dict[str, Any]:
    """The table of stimuli with fewer trials of the train stimuli; the test stimuli keep theirs.

    Parameters
    ----------
    splits
        The table.
    axis : "repeats" or "sessions"
        Each stimulus keeps the first of its trials, or those in the first part of the recording; stimuli without any
        are left out.
    amount : float
        The number of trials, or the share of the recording, above 0 to 1.

    Raises
    ------
    ValueError
        Fewer than two train stimuli are left.
    """
    train = splits["train"]
    if axis == "repeats":
        kept = [trials[: int(amount)] for trials in train.trials]
    else:
        n_trials = 1 + max(int(trials.max()) for split in splits.values() for trials in split.trials)
        kept = [trials[trials < amount * n_trials] for trials in train.trials]
    some = [row for row, trials in enumerate(kept) if len(trials)]
    if len(some) < stimulus_table.LEAST["train"]:
        raise ValueError(
            f"scaling.{axis} has {amount:g}, which leaves {stimulus_table.too_few('train', len(some))}; raise it"
        )
    fewer = stimulus_table.Stimuli(train.nsd_id[some], tuple(kept[row] for row in some))
    return {**splits, "train": fewer}


def block(kernel: ridge.Kernel, rows: Int[np.ndarray, " rows"]) -> ridge.Kernel:
    """The kernel of some train stimuli, centred again; the betas keep the standard deviations of all train stimuli.

    Memory: a copy of that block.
    """
    if kernel.gram is not None:
        mean = kernel.train[rows].mean(0)
        train, test = kernel.train[rows] - mean, kernel.test - mean
        return kernel._replace(train=train, test=test, train_id=kernel.train_id[rows], gram=train.T @ train)
    train, test = kernel.train[np.ix_(rows, rows)], kernel.test[:, rows]
    of_train = train.mean(0)
    test = test - of_train - (test.mean(1) - of_train.mean())[:, None]
    train = train - of_train - of_train[:, None] + of_train.mean()
    return kernel._replace(train=np.asfortranarray(train).T, test=test, train_id=kernel.train_id[rows])


def nested(n: int, shares: Sequence[float], draws: int, seed: int) -> Iterator[tuple[int, Int[np.ndarray, " rows"]]]:
    """(draw, rows in order) of random subsets of each size; those of a draw lie one within the other."""
    for draw in range(draws):
        order = np.random.default_rng((seed, draw, n)).permutation(n)
        for share in shares:
            yield draw, np.sort(order[: max(2, round(share * n))])


def conditions(
    betas: tuple[hdf5.StimulusArray, hdf5.StimulusArray],
    table: Mapping[str, stimulus_table.Stimuli],
    *,
    stimuli: Sequence[float],
    voxels: Sequence[float],
    draws: int,
    seed: int,
    precision: str,
) -> Iterator[tuple[Condition, ridge.Kernel]]:
    """All of the data, and fewer stimuli and voxels, each drawn several times.

    Parameters
    ----------
    betas : (train, test)
        Averaged betas.
    table
        The stimuli and their trials.
    stimuli, voxels : shares
        Above 0 and below 1.
    draws, seed
        How often each amount is drawn, and how.
    precision
        Of the kernels.

    Returns
    -------
    Pairs of a condition and its kernel.

    Memory: the betas and two kernels.
    """
    train, test = betas
    repeats, n_voxels = _mean_repeats(table), train.values.shape[1]
    whole = ridge.kernel(train, test, precision=precision)
    n = len(train.nsd_id)
    for draw, rows in nested(n, stimuli, draws, seed):
        part = float(np.mean([len(table["train"].trials[row]) for row in rows]))
        yield Condition("stimuli", len(rows), draw, len(rows), part, n_voxels), block(whole, rows)
    yield Condition("all", n, 0, n, repeats, n_voxels), whole
    del whole
    for draw, chosen in nested(n_voxels, voxels, draws, seed):
        fewer = (hdf5.StimulusArray(np.ascontiguousarray(each.values[:, chosen]), each.nsd_id) for each in betas)
        kernel = ridge.kernel(*fewer, precision=precision)
        yield Condition("voxels", len(chosen), draw, n, repeats, len(chosen)), kernel


def from_trials(
    axis: str, betas: Sequence[hdf5.StimulusArray], table: Mapping[str, stimulus_table.Stimuli], precision: str
) -> tuple[Condition, ridge.Kernel]:
    """The condition of betas that were averaged over fewer trials, and its kernel."""
    train, test = betas
    repeats, n = _mean_repeats(table), len(train.nsd_id)
    amount = repeats if axis == "repeats" else n * repeats
    condition = Condition(axis, amount, 0, n, repeats, train.values.shape[1])
    return condition, ridge.kernel(train, test, precision=precision)


def _mean_repeats(table: Mapping[str, stimulus_table.Stimuli]) -> float:
    return float(np.mean([len(trials) for trials in table["train"].trials]))


def targets(features_train: str | Path, features_test: str | Path, columns: int, seed: int) -> Targets:
    """Columns of a feature, drawn as `ridge.auto` draws them."""
    parts = []
    for path in (features_train, features_test):
        with hdf5.reading(path, by_columns=True) as (values, nsd_id):
            chosen, found = ridge_alpha.sampled(values.shape[1], columns, seed), []
            for start in range(0, values.shape[1], ridge_alpha.MOST_READ):
                inside = chosen[(chosen >= start) & (chosen < start + ridge_alpha.MOST_READ)] - start
                found.append(values[:, start : start + ridge_alpha.MOST_READ][:, inside].astype(np.float64))
            parts.append(np.concatenate(found, axis=1))
            hdf5.check_finite(path, parts[-1], nsd_id)
    train, test = parts
    return Targets(train - train.mean(0), test - train.mean(0))


def score(
    condition: Condition,
    kernel: ridge.Kernel,
    features: Mapping[str, Targets],
    train_id: Int32[np.ndarray, " train"],
    alphas: Float[np.ndarray, " alphas"],
) -> Scored:
    """Choose the penalty of every feature, and score all test stimuli.

    Parameters
    ----------
    condition, kernel
        The kernel is overwritten.
    features : {feature: targets}
        Of all train stimuli.
    train_id : (train,)
        These stimuli.
    alphas
        The penalties to choose from.

    Memory: the eigendecomposition of the kernel, and a few arrays of the shape of the targets.
    """
    rows = generalisation.places(kernel.train_id, train_id, "the training features")
    spectrum, chosen, scores = kernel_spectrum.of_kernel(kernel), {}, {}
    with threadpool_limits(1 if len(rows) <= ridge.SMALL else None, "blas"):
        for feature, all_targets in features.items():
            y = all_targets.train[rows]
            some = y[:, :: -(-y.shape[1] // MOST_CHOOSING)]
            correlation, _ = ridge_alpha.left_out_scores(spectrum, some, alphas)
            varies = ~np.isnan(correlation).any(0)
            best = int(np.argmax(correlation[:, varies].mean(1))) if varies.any() else -1
            chosen[feature] = float(alphas[best])
            mean, shrunk = y.mean(0), np.sqrt(spectrum.values) / (spectrum.values + alphas[best])
            made = (spectrum.test * shrunk) @ (spectrum.train.T @ (y - mean)) + mean
            correlations = statistics.correlation_matrix(made, all_targets.test)
            own = np.arange(len(made))
            two_way = generalisation.identified(correlations, own, np.zeros_like(own))
            scores[feature] = dict(zip(linear_maps.MEASURES, (np.diagonal(correlations).copy(), two_way), strict=True))
    logger.info("%s %g: %d stimuli, %d voxels", *condition[:2], condition.stimuli, condition.voxels)
    return Scored(condition, chosen, scores)
