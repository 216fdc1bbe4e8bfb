"""Permutation tests within a subject: is a mean score higher than if images belonged to other stimuli?

The null hypothesis of a score is that the assignment of images to stimuli is arbitrary; of a difference between two
sets of images, that each image's two scores are exchangeable. p is the share of assignments, the observed one among
them, that are at least as extreme: (1 + those at least as extreme) / (1 + those drawn), or exact where all can be
counted.

Source: Phipson and Smyth 2010, Statistical Applications in Genetics and Molecular Biology 9, 39.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

MOST_ENUMERATED = 7
"""Stimuli of which all permutations are counted one by one: 5,040."""
MOST_COUNTED = 16
"""Stimuli of which all permutations are counted by dynamic programming, where scores are whole numbers."""
MOST_FLIPPED = 16
"""Differences whose signs are flipped in all ways: 65,536."""
TOLERANCE = 1e-12  # relative; sums in another order are equal
BLOCK = 2**20  # random numbers at a time


class Test(NamedTuple):
    """A permutation test.

    Parameters
    ----------
    observed
        The mean score, or the mean difference.
    expected
        Its mean under the null hypothesis.
    p
        The share of assignments at least as extreme.
    least
        The smallest p that the test could have given.
    method
        Which assignments were counted.
    n
        Images that were measured.
    """

    observed: float
    expected: float
    p: float
    least: float
    method: str
    n: int


UNTESTED = Test(math.nan, math.nan, math.nan, math.nan, "not measured", 0)
"""Of images of which none was measured."""


def ranks(similarity: Float[np.ndarray, "stimuli images"]) -> Int[np.ndarray, "stimuli images"]:
    """How many stimuli are less similar to each image than each stimulus is: identification of every pairing."""
    in_order = np.sort(similarity, axis=0)
    columns = zip(in_order.T, similarity.T, strict=True)
    return np.stack([np.searchsorted(each, values, side="left") for each, values in columns], axis=1)


def without_constant(table: Float[np.ndarray, "stimuli images"]) -> np.ndarray:
    """The stimuli whose scores were measured for some image, and whose images' were for some stimulus."""
    has_score = ~np.isnan(table)
    return np.flatnonzero(has_score.any(0) & has_score.any(1))


def of_pairings(scores: np.ndarray, n_permutations: int, seed: int, *, lower_is_better: bool = False) -> Test:
    """Test the mean score of images paired with their own stimuli.

    Parameters
    ----------
    scores : array (stimuli, images)
        The score of every image with every stimulus; own pairs lie on the diagonal. Whole numbers (`ranks`) of few
        stimuli give an exact test.
    n_permutations : int
        How many assignments are drawn where not all can be counted.
    seed : int
        Of the drawn ones.
    lower_is_better : bool
        Whether a low score is extreme.

    Raises
    ------
    ValueError
        Fewer than 2 stimuli, or a score that was not measured.
    """
    n = len(scores)
    if n < 2:
        raise ValueError(f"a permutation test needs other stimuli; got {n}, expected at least 2")
    if np.isnan(scores).any():
        raise ValueError("a permutation test needs a score of every pair; leave out what was not measured")
    signed = -scores if lower_is_better else scores
    observed, expected = float(np.trace(scores)) / n, float(scores.mean())
    if n <= MOST_ENUMERATED:
        sums = signed[np.array(list(itertools.permutations(range(n)))), np.arange(n)].sum(1)
        share = float(_at_least(sums, np.trace(signed)).mean())
        return Test(observed, expected, share, _least(sums), f"all {math.factorial(n):,} permutations", n)
    if n <= MOST_COUNTED and np.issubdtype(scores.dtype, np.integer):
        lowest = int(signed.min(0).sum())
        counts = count_sums(signed - signed.min(0))
        reached = int(np.trace(signed)) - lowest
        total = math.factorial(n)
        share = float(counts[reached:].sum() / total)
        return Test(observed, expected, share, float(counts[np.flatnonzero(counts)[-1]] / total), "all permutations", n)
    rng, drawn = np.random.default_rng(seed), []
    per_block = max(1, BLOCK // n)
    for start in range(0, n_permutations, per_block):
        size = min(per_block, n_permutations - start)
        orders = rng.permuted(np.tile(np.arange(n), (size, 1)), axis=1)
        drawn.append(signed[orders, np.arange(n)].sum(1, dtype=np.float64))
    return _of_drawn(observed, expected, np.trace(signed), np.concatenate(drawn), "permutations", n)


def of_derangements(own: Float[np.ndarray, " images"], others: Float[np.ndarray, "pairings images"]) -> Test:
    """Test a mean score against those of some drawn pairings, where scores of all pairs cost too much.

    Parameters
    ----------
    own : array (images,)
        The score of each image with its own stimulus; higher is better.
    others : array (pairings, images)
        The score of each image with the stimulus that a drawn pairing gives it.
    """
    is_measured = ~(np.isnan(own) | np.isnan(others).any(0))
    own, others = own[is_measured], others[:, is_measured]
    if not len(own):
        return UNTESTED
    sums = others.sum(1)
    return _of_drawn(float(own.mean()), float(others.mean()), own.sum(), sums, "pairings with other stimuli", len(own))


def of_differences(differences: Float[np.ndarray, " images"], n_permutations: int, seed: int) -> Test:
    """Test the mean of paired differences, two-sided: signs are exchangeable where the sets of images do not differ."""
    measured = differences[~np.isnan(differences)]
    n = len(measured)
    if not n:
        return UNTESTED
    observed = float(measured.mean())
    if n <= MOST_FLIPPED:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        sums = np.abs(signs @ measured)
        return Test(
            observed, 0.0, float(_at_least(sums, sums[0]).mean()), _least(sums), f"all {2**n:,} flips of signs", n
        )
    rng, drawn = np.random.default_rng(seed), []
    per_block = max(1, BLOCK // n)
    for start in range(0, n_permutations, per_block):
        signs = rng.integers(0, 2, (min(per_block, n_permutations - start), n)) * 2 - 1
        drawn.append(np.abs(signs @ measured))
    return _of_drawn(observed, 0.0, abs(measured.sum()), np.concatenate(drawn), "flips of signs", n)


def count_sums(table: Int[np.ndarray, "stimuli images"]) -> np.ndarray:
    """How many assignments of stimuli to images have each sum, from 0, of a table of whole numbers from 0.

    One image after the other, for every set of stimuli that were given away. Counts are exact up to 2**53.

    Raises ValueError: more stimuli than `MOST_COUNTED`, or a negative number.
    """
    n = len(table)
    if n > MOST_COUNTED or table.min() < 0:
        raise ValueError(f"got {n} stimuli, lowest number {table.min()}; expected at most {MOST_COUNTED}, and from 0")
    length = int(table.max(0).sum()) + 1
    given = np.arange(2**n)
    sizes = np.array([bin(each).count("1") for each in given])
    ways = np.zeros((2**n, length))
    ways[0, 0] = 1
    for image in range(n):
        before = given[sizes == image]
        for stimulus in range(n):
            free = before[(before >> stimulus) & 1 == 0]
            value = int(table[stimulus, image])
            ways[free | 1 << stimulus, value:] += ways[free, : length - value]
        ways[before] = 0
    return ways[-1]


def derangements(n: int, number: int, seed: int) -> Int[np.ndarray, "pairings images"]:
    """Drawn pairings in which every image has another stimulus than its own.

    Raises ValueError: fewer than 2 stimuli.
    """
    if n < 2:
        raise ValueError(f"a pairing with other stimuli needs some; got {n}, expected at least 2")
    rng, found = np.random.default_rng(seed), np.empty((number, n), np.int64)
    for place in range(number):
        order = rng.permutation(n)
        while (order == np.arange(n)).any():  # 2.7 times on average
            order = rng.permutation(n)
        found[place] = order
    return found


def holm(p: Sequence[float]) -> np.ndarray:
    """p values corrected for the number of tests by Holm's method; NaN, a test that was not made, is none of them.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    values = np.asarray(p, float)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    corrected = np.full(len(values), np.nan)
    steps = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1))
    corrected[order] = np.minimum(steps, 1)
    return corrected


def fdr(p: Sequence[float]) -> np.ndarray:
    """p values corrected by Benjamini and Hochberg's method, for the share of false discoveries; NaN stays NaN."""
    from scipy.stats import false_discovery_control

    values = np.asarray(p, float)
    tested = ~np.isnan(values)
    corrected = np.full(len(values), np.nan)
    if tested.any():
        corrected[tested] = false_discovery_control(values[tested])
    return corrected


CORRECTIONS = {"holm": holm, "fdr": fdr}
"""Corrections for the number of tests that `significance.correction` in config.yaml may name."""


def _of_drawn(observed: float, expected: float, reached: Any, drawn: np.ndarray, of: str, n: int) -> Test:
    share = (1 + int(_at_least(drawn, reached).sum())) / (1 + len(drawn))
    return Test(observed, expected, share, 1 / (1 + len(drawn)), f"{len(drawn):,} {of}", n)


def _at_least(sums: np.ndarray, reached: Any) -> np.ndarray:
    """Whether sums are at least as high, but for rounding."""
    return sums >= reached - TOLERANCE * max(1.0, abs(reached))


def _least(sums: np.ndarray) -> float:
    """The share of the most extreme sum."""
    return float(_at_least(sums, sums.max()).mean())
