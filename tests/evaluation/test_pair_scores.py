"""Scores of all pairs, or of drawn ones, and the tables of permutation tests made of them."""

import numpy as np
import pytest
import yaml
from toy_workflow import N_TEST, snakemake

from brain_diffuser.artifacts import tables
from brain_diffuser.evaluation import metrics, pair_scores, permutations, pixels, registry, statistics
from brain_diffuser.evaluation.scores import ImageScores, PerImage

IDS = np.arange(10, dtype=np.int32)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    stimuli = rng.integers(0, 256, (10, 40, 40, 3), dtype=np.uint8)
    return stimuli, (0.3 * stimuli[:, ::2, ::2] + 0.7 * rng.integers(0, 256, (10, 20, 20, 3))).astype(np.uint8)


@pytest.mark.parametrize("protocol", registry.PROTOCOLS)
def test_the_diagonal_and_the_first_column_are_the_scores(images, tmp_path, protocol):
    options = {"protocol": protocol, "pairings": 4, "seed": 0}
    pair_scores.of_pixels(tmp_path, "pixels", IDS, *images, **options)
    own = registry.score_pixels("pixels", *images, protocol)
    all_pairs, drawn = (pair_scores.read(tmp_path / f"{name}.h5") for name in ("pix_corr", "ssim"))
    np.testing.assert_allclose(np.diag(all_pairs.values), own["pix_corr"], atol=1e-6)
    np.testing.assert_allclose(drawn.values[:, 0], own["ssim"])
    assert (all_pairs.has_all, drawn.has_all, drawn.values.shape) == (True, False, (10, 5))
    for column, order in enumerate(permutations.derangements(10, 4, 0), 1):
        np.testing.assert_allclose(drawn.values[:, column], pixels.ssim(images[0][order], images[1], protocol))
        expected = pixels.pix_corr(images[0][order], images[1], protocol)
        np.testing.assert_allclose(all_pairs.values[order, np.arange(10)], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["two_way", "distance"])
def test_the_observed_score_is_the_mean_of_the_metric(kind):
    rng = np.random.default_rng(0)
    true = rng.standard_normal((20, 50))
    predicted = true + 2 * rng.standard_normal((20, 50))
    scores, _ = metrics.compare(true, predicted, kind, statistics.cyclic_derangement(20, 0))
    table = pair_scores.PairScores(statistics.correlation_matrix(true, predicted), True, kind)
    found = pair_scores.test(table, 999, 0)
    assert found.observed == pytest.approx(scores.mean())
    assert found.p == 1 / 1000
    assert found.expected == pytest.approx(0.5 if kind == "two_way" else 1, abs=0.05)


def test_what_does_not_vary_is_left_out():
    rng = np.random.default_rng(0)
    true = rng.standard_normal((6, 50))
    predicted = true.copy()
    predicted[2] = 1
    table = pair_scores.PairScores(statistics.correlation_matrix(true, predicted), True, "two_way")
    found = pair_scores.test(table, 999, 0)
    assert (found.n, found.observed, found.p) == (5, 1, 1 / 120)
    nothing = pair_scores.PairScores(np.full((4, 4), np.nan), True, "two_way")
    assert pair_scores.test(nothing, 999, 0).method == "not measured"


def test_a_distance_of_drawn_pairings_is_better_where_it_is_lower():
    values = np.random.default_rng(0).standard_normal((12, 31))
    values[:, 0] -= 3
    found = pair_scores.test(pair_scores.PairScores(values, False, "distance"), 9, 0)
    assert found.p == 1 / 31
    assert found.observed == pytest.approx(values[:, 0].mean())


def test_differences_are_those_of_paired_images(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.standard_normal(40)
    sets = {
        name: ImageScores(np.arange(40, dtype=np.int32), [PerImage("m", "similarity", base + shift, base)])
        for name, shift in (("recon", 0.1 * rng.standard_normal(40)), ("better", 1), ("same", 0))
    }
    sets["same"] = sets["recon"]
    rows = pair_scores.differences(sets, {"better": "recon", "same": "recon"}, 999, 0, "holm")
    assert [(row["images"], row["p"], row["p_corrected"]) for row in rows] == [
        ("better", "0.001", "0.002"),
        ("same", "1", "1"),
    ]
    pair_scores.write(tmp_path, [], rows, {"m": ["My metric", "similarity"]}, "TEST, sub01", "holm")
    text = (tmp_path / "tests.md").read_text()
    assert "| better | recon | My metric | 40 |" in text
    assert "| <= 0.001 | 0.002 | 999 flips of signs |" in text


@pytest.mark.workflow
def test_the_workflow_tests_the_scores_that_are_in_the_tables(checkout):
    path = checkout / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["significance"] |= {"images": ["stage1", "recon", "mean_image"], "permutations": 99, "pairings": 19}
    config["report"]["significance"] = True
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode == 0, run.stderr
    results = checkout / "results/sub01"
    means = {(row["images"], row["metric"]): row for row in tables.read_csv(results / "metrics/scores.csv")}
    rows = tables.read_csv(results / "significance/tests.csv")
    assert {row["images"] for row in rows} == {"stage1", "recon", "mean_image"}
    for row in rows:
        mean = means[row["images"], row["metric"]]
        assert row["n"] == mean["n"]
        if int(row["n"]):
            assert float(row["score"]) == pytest.approx(float(mean["mean"]), abs=1e-5)
            assert 0 < float(row["least_p"]) <= float(row["p"]) <= float(row["p_corrected"]) <= 1
    counted = {row["metric"]: row["counted"] for row in rows if row["images"] == "recon"}
    assert counted["pix_corr"] == "99 permutations"
    assert counted["ssim"] == "19 pairings with other stimuli"
    assert counted["clip"] == "all permutations"
    assert int(next(row["n"] for row in rows if row["metric"] == "pix_corr" and row["images"] == "recon")) == N_TEST
    compared = tables.read_csv(results / "significance/differences.csv")
    assert {(row["images"], row["against"]) for row in compared} == {("stage1", "recon"), ("mean_image", "recon")}
    assert '<section id="significance"' in (checkout / "results/report.html").read_text(encoding="utf-8")
    assert "Nothing to be done" in snakemake(checkout, "-n").stdout
