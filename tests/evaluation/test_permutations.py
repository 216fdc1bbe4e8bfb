"""Permutation tests: exact counts against enumeration, uniform p under the null hypothesis, and power."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from brain_diffuser.evaluation import metrics, permutations


def test_ranks_are_two_way_identification_of_every_pairing():
    rng = np.random.default_rng(0)
    similarity = rng.standard_normal((9, 9)).round(1)  # with ties
    table = permutations.ranks(similarity)
    for _ in range(20):
        order = rng.permutation(9)
        slow = [np.sum(similarity[:, image] < similarity[order[image], image]) for image in range(9)]
        assert table[order, np.arange(9)].tolist() == slow
    own = metrics.two_way(similarity, np.arange(9))
    np.testing.assert_allclose(np.diag(table) / 8, own)


@pytest.mark.parametrize("n", [2, 3, 5, 7])
def test_counted_sums_are_those_of_all_permutations(n):
    table = np.random.default_rng(n).integers(0, 6, (n, n))
    counts = permutations.count_sums(table)
    sums = [table[list(order), np.arange(n)].sum() for order in itertools.permutations(range(n))]
    assert counts.tolist() == np.bincount(sums, minlength=len(counts)).tolist()


def test_exact_tests_of_few_stimuli_agree_with_enumeration():
    rng = np.random.default_rng(0)
    for n in (4, 6, 7):
        similarity = rng.standard_normal((n, n)) + np.eye(n)
        table = permutations.ranks(similarity)
        sums = [table[list(order), np.arange(n)].sum() for order in itertools.permutations(range(n))]
        expected = np.mean(np.array(sums) >= np.trace(table))
        assert permutations.of_pairings(table, 10, 0).p == pytest.approx(expected)
        counts = permutations.count_sums(table)
        assert counts[np.trace(table) :].sum() / math.factorial(n) == pytest.approx(expected)


def test_an_exact_test_of_twelve_stimuli_agrees_with_drawn_permutations():
    table = permutations.ranks(np.random.default_rng(3).standard_normal((12, 12)) + 0.5 * np.eye(12))
    exact = permutations.of_pairings(table, 1, 0)
    drawn = permutations.of_pairings(table.astype(float), 40_000, 0)
    assert exact.method == "all permutations"
    assert drawn.method == "40,000 permutations"
    assert exact.p == pytest.approx(drawn.p, abs=4 * math.sqrt(exact.p / 40_000) + 1 / 40_000)
    assert (exact.observed, exact.expected) == pytest.approx((drawn.observed, drawn.expected))
    assert exact.least >= 1 / math.factorial(12)


@pytest.mark.parametrize("n", [6, 12, 40])
def test_p_is_uniform_under_the_null_hypothesis(n):
    rng = np.random.default_rng(n)
    sets = 1000 if n != 12 else 40
    found = []
    for seed in range(sets):
        similarity = rng.standard_normal((n, n))
        scores = permutations.ranks(similarity) if n == 12 else similarity
        found.append(permutations.of_pairings(scores, 199, seed).p)
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / sets)


@pytest.mark.parametrize("n", [10, 30])
def test_p_of_differences_is_uniform_under_the_null_hypothesis(n):
    rng = np.random.default_rng(n)
    found = [permutations.of_differences(rng.standard_normal(n), 199, seed).p for seed in range(1000)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_power_on_known_effects():
    rng = np.random.default_rng(0)
    own = [
        permutations.of_pairings(rng.standard_normal((30, 30)) + 0.7 * np.eye(30), 199, each).p for each in range(100)
    ]
    differences = [permutations.of_differences(rng.standard_normal(30) + 0.7, 199, each).p for each in range(100)]
    normal = stats.norm.sf(stats.norm.isf(0.05) - 0.7 * math.sqrt(30))  # of the one-sided z test
    assert np.mean(np.array(own) <= 0.05) == pytest.approx(normal, abs=0.08)
    assert np.mean(np.array(differences) <= 0.05) > 0.9


def test_a_shift_is_seen_in_its_own_direction():
    scores = np.random.default_rng(0).standard_normal((25, 25)) + 2 * np.eye(25)
    assert permutations.of_pairings(scores, 999, 0).p == 1 / 1000
    assert permutations.of_pairings(-scores, 999, 0, lower_is_better=True).p == 1 / 1000
    assert permutations.of_pairings(-scores, 999, 0).p > 0.99


def test_derangements_and_their_test():
    drawn = permutations.derangements(9, 500, 0)
    assert (drawn != np.arange(9)).all()
    assert (np.sort(drawn, axis=1) == np.arange(9)).all()
    assert (drawn == permutations.derangements(9, 500, 0)).all()
    scores = np.random.default_rng(0).standard_normal((9, 9)) + 3 * np.eye(9)
    others = scores[drawn, np.arange(9)]
    test = permutations.of_derangements(np.diag(scores), others)
    assert (test.p, test.least, test.method) == (1 / 501, 1 / 501, "500 pairings with other stimuli")
    with_gap = np.diag(scores).copy()
    with_gap[3] = np.nan
    assert permutations.of_derangements(with_gap, others).n == 8


def test_what_cannot_be_tested_is_said():
    with pytest.raises(ValueError, match="got 1, expected at least 2"):
        permutations.of_pairings(np.zeros((1, 1)), 9, 0)
    with pytest.raises(ValueError, match="leave out what was not measured"):
        permutations.of_pairings(np.full((3, 3), np.nan), 9, 0)
    assert permutations.of_differences(np.full(3, np.nan), 9, 0).method == "not measured"
    table = np.ones((4, 4))
    table[2] = np.nan
    assert permutations.without_constant(table).tolist() == [0, 1, 3]


def test_corrections_for_the_number_of_tests():
    p = [0.01, np.nan, 0.04, 0.03, 0.005]
    np.testing.assert_allclose(permutations.holm(p), [0.03, np.nan, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(permutations.fdr(p), [0.02, np.nan, 0.04, 0.04, 0.02])
    assert permutations.holm([0.9, 0.8]).tolist() == [1, 1]
