"""Identification within and across sets: by hand, by enumeration, and what knowing the set alone gives."""

import itertools
import math

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.evaluation import pair_scores, test_set_scores

TWELVE = ["A"] * 6 + ["B"] * 6


def two_way(table, rows):
    """The share of pairs in which the own stimulus is more similar, by two loops."""
    wins = [table[own, own] > table[other, own] for own in rows for other in rows if other != own]
    return np.mean(wins)


def test_who_knows_the_set_alone_gets_what_the_table_says():
    assert test_set_scores.by_group_alone(TWELVE) == pytest.approx(0.5 * 5 / 11 + 6 / 11)
    assert round(test_set_scores.by_group_alone(TWELVE), 3) == 0.773
    assert test_set_scores.by_group_alone(["A"] * 5) == 0.5
    rng, group = np.random.default_rng(0), np.repeat([0, 1], 6)
    same = group[:, None] == group
    guesses = [two_way(same + 1e-3 * rng.random((12, 12)), range(12)) for _ in range(300)]
    assert np.mean(guesses) == pytest.approx(test_set_scores.by_group_alone(TWELVE), abs=0.01)


def test_identification_is_that_of_two_loops():
    table = np.random.default_rng(1).normal(size=(12, 12)) + 0.8 * np.eye(12)
    found = test_set_scores.identification(table, [np.arange(12)], 100, 0)
    assert found.observed == pytest.approx(two_way(table, range(12)))
    within = test_set_scores.identification(table, [np.arange(6), np.arange(6, 12)], 100, 0)
    assert within.observed == pytest.approx((two_way(table, range(6)) + two_way(table, range(6, 12))) / 2)
    assert found.expected == pytest.approx(0.5)
    assert within.expected == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(3))
def test_exact_p_within_sets_is_that_of_all_permutations(seed):
    table = np.random.default_rng(seed).normal(size=(7, 7)) + 0.9 * np.eye(7)
    parts = [np.arange(4), np.arange(4, 7)]

    def wins(order_a, order_b):
        order = [*order_a, *(4 + place for place in order_b)]
        return sum(
            table[order[image], image] > table[other, image] for part in parts for image in part for other in part
        )

    own = wins(range(4), range(3))
    sums = [
        wins(a, b) for a, b in itertools.product(itertools.permutations(range(4)), itertools.permutations(range(3)))
    ]
    found = test_set_scores.identification(table, parts, 100, 0)
    assert found.p == pytest.approx(np.mean([each >= own for each in sums]))
    assert found.least == pytest.approx(np.mean([each == max(sums) for each in sums]))
    assert len(sums) == math.factorial(4) * math.factorial(3)


def test_more_stimuli_than_can_be_counted_are_drawn():
    table = np.random.default_rng(2).normal(size=(40, 40)) + 2 * np.eye(40)
    found = test_set_scores.identification(table, [np.arange(20), np.arange(20, 40)], 199, 0)
    assert found.p == found.least == 1 / 200
    assert found.method == "199 permutations within sets"


def test_a_constant_image_is_left_out():
    table = np.random.default_rng(3).normal(size=(12, 12))
    table[:, 4] = np.nan
    found = test_set_scores.identification(table, [np.arange(6), np.arange(6, 12)], 100, 0)
    assert found.n == 11
    assert test_set_scores.identification(table, [np.array([4])], 100, 0).n == 0


def test_the_table_has_pools_chance_and_p_beside_each_score(tmp_path):
    rng = np.random.default_rng(4)
    ids = np.arange(12, dtype=np.int32)
    true, noise = rng.normal(size=(12, 30)), rng.normal(size=(12, 30))
    hdf5.save(tmp_path / "true.h5", true.astype(np.float32), ids)
    hdf5.save(tmp_path / "predicted.h5", (true + noise).astype(np.float32), ids)
    folder = tmp_path / "pairs"
    folder.mkdir()
    table = rng.normal(size=(12, 12))
    pair_scores.save(folder / "clip.h5", table, ids, has_all=True, kind="two_way")
    pair_scores.save(folder / "pix_corr.h5", np.tanh(table), ids, has_all=True, kind="similarity")
    pair_scores.save(folder / "ssim.h5", rng.normal(size=(12, 20)), ids, has_all=False, kind="similarity")
    rows = [
        *test_set_scores.of_features(
            {"vdvae": tmp_path / "true.h5"}, {"vdvae": tmp_path / "predicted.h5"}, TWELVE, 99, 0
        ),
        *test_set_scores.of_images({"recon": [folder]}, TWELVE, 99, 0),
    ]
    test_set_scores.write(tmp_path, rows, {"clip": ["CLIP", "two_way"]}, "toy", "notes")
    read = tables.read_csv(tmp_path / "scores.csv")
    by_key = {(row["images"], row["metric"], row["stimuli"]): row for row in read}
    whole = by_key["recon", "clip", "all"]
    assert (whole["n"], whole["pool"], whole["by_group_alone"]) == ("12", "12", "0.773")
    within = by_key["recon", "clip", "within sets"]
    assert (within["pool"], within["by_group_alone"]) == ("6", "0.500")
    assert {key[2] for key in by_key if key[1] == "clip"} == {"all", "within sets", "set A", "set B"}
    assert float(by_key["recon", "pix_corr", "all"]["score"]) == pytest.approx(np.tanh(np.diag(table)).mean(), abs=1e-5)
    assert ("recon", "ssim", "all") in by_key
    decoded = by_key["decoded features", "VDVAE latents", "within sets"]
    assert decoded["counted"] == "all permutations within sets"
    assert float(decoded["p"]) < 0.05
    text = (tmp_path / "scores.md").read_text(encoding="utf-8")
    assert "`<=` marks the smallest p" in text
    assert "| recon | CLIP | all | 12 | 12 |" in text
