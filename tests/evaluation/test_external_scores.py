"""Scores of images of any sizes are those of the workflow's functions, and identification is what its words say."""

import numpy as np
import pytest

from brain_diffuser.artifacts import image_files
from brain_diffuser.evaluation import external_scores, matching, pair_scores, registry, scores, statistics

SETTINGS = external_scores.Settings(20, 0, 99, 1, 0)
N = 8


class Network:
    """Features that are the mean colours of quarters, whatever the size."""

    def features(self, images):
        small = image_files.resize(images, 8, "bilinear").reshape(len(images), 2, 4, 2, 4, 3).mean((2, 4))
        values = small.reshape(len(images), 12).astype(np.float32)
        return dict.fromkeys(("efficientnet_lite0", "efficientnet_lite0_distance"), values)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    stimuli = rng.integers(0, 256, (N, 24, 24, 3), dtype=np.uint8)
    return stimuli, (0.5 * stimuli[:, ::2, ::2] + 0.5 * rng.integers(0, 256, (N, 12, 12, 3))).astype(np.uint8)


def scored(stimuli, made, rows, protocol="brain_diffuser"):
    matched = matching.Matched(np.array(rows), [str(row) for row in rows], made, [])
    scorers = ["pixels", "efficientnet_lite0"]
    features_of = lambda name, given: external_scores.network_features(Network(), given)  # noqa: E731
    return external_scores.score("mine", stimuli, matched, scorers, protocol, features_of, SETTINGS)


@pytest.mark.parametrize("protocol", registry.PROTOCOLS)
def test_scores_and_tests_are_those_of_the_workflow(images, tmp_path, protocol):
    stimuli, made = images
    found = scored([*stimuli], [*made], range(N), protocol)
    expected = scores.of_pixels("pixels", stimuli, made, protocol=protocol, seed=0)
    true, predicted = (Network().features(each) for each in images)
    expected += scores.of_features("efficientnet_lite0", true, predicted, 0)
    for mine, its in zip(found.per_image, expected, strict=True):
        assert mine[:2] == its[:2]
        np.testing.assert_array_equal(mine.scores, its.scores)
        np.testing.assert_array_equal(mine.shuffled, its.shuffled)
    ids = np.arange(N, dtype=np.int32)
    pair_scores.of_pixels(tmp_path, "pixels", ids, *images, protocol=protocol, pairings=1, seed=0)
    pair_scores.of_features(tmp_path, "efficientnet_lite0", ids, true, predicted)
    for metric, pairs in found.pairs.items():
        stored = pair_scores.read(tmp_path / f"{metric}.h5")
        np.testing.assert_allclose(pairs.values, stored.values, atol=1e-6)
        assert pairs[1:] == stored[1:]
    tested = external_scores.tests("mine", {protocol: found}, SETTINGS, "holm")
    expected = pair_scores.tests({"mine": [tmp_path]}, 99, 0, "holm")
    by_metric = {row["metric"]: row for row in expected}
    assert all(row == {"protocol": protocol} | by_metric[row["metric"]] for row in tested)


def test_images_of_several_sizes_have_the_scores_of_each_alone(images):
    stimuli, made = images
    mixed = [*made]
    mixed[3] = image_files.resize(stimuli[3:4], (17, 20))[0]
    found = {each.metric: each.scores for each in scored([*stimuli], mixed, range(N)).per_image}
    same = {each.metric: each.scores for each in scored([*stimuli], [*made], range(N)).per_image}
    for metric in ("pix_corr", "ssim", "efficientnet_lite0_distance"):
        np.testing.assert_array_equal(np.delete(found[metric], 3), np.delete(same[metric], 3))
        assert found[metric][3] != same[metric][3]


def test_scores_of_some_stimuli_are_those_of_a_smaller_set(images):
    stimuli, made = images
    rows = [1, 4, 5, 7]
    some, alone = scored([*stimuli], [*made[rows]], rows), scored([*stimuli[rows]], [*made[rows]], range(4))
    for mine, its in zip(some.per_image, alone.per_image, strict=True):
        np.testing.assert_allclose(mine.scores, its.scores, atol=1e-9)
    pools = {(row["searched"], row["measure"]): row["pool"] for row in some.identification}
    assert pools[external_scores.AMONG_STIMULI, "top 1"] == N  # stimuli without an image are candidates
    assert pools[external_scores.AMONG_STIMULI, "two-way"] == pools[external_scores.AMONG_IMAGES, "top 1"] == 4


def test_identification_counts_as_its_words_say():
    rng = np.random.default_rng(0)
    rows = np.arange(3, 60)
    true = rng.standard_normal((64, 30))
    predicted = true[rows] + 2 * rng.standard_normal((57, 30))
    table = statistics.correlation_matrix(true, predicted)
    found = {(row["searched"], row["measure"]): row for row in external_scores.identify(table, rows, SETTINGS)}
    for k in (1, 10, 50):
        among_stimuli = np.mean([row in np.argsort(-table[:, place])[:k] for place, row in enumerate(rows)])
        among_images = np.mean([place in np.argsort(-table[row])[:k] for place, row in enumerate(rows)])
        row = found[external_scores.AMONG_STIMULI, f"top {k}"]
        assert (row["share"], row["pool"], row["chance"]) == pytest.approx((among_stimuli, 64, k / 64), abs=1e-6)
        row = found[external_scores.AMONG_IMAGES, f"top {k}"]
        assert (row["share"], row["pool"], row["chance"]) == pytest.approx((among_images, 57, k / 57), abs=1e-6)
    share = np.mean([np.mean(np.delete(table[row], place) < table[row, place]) for place, row in enumerate(rows)])
    assert found[external_scores.AMONG_IMAGES, "two-way"]["share"] == pytest.approx(share, abs=1e-6)


def test_a_tie_counts_against_and_what_does_not_vary_is_no_candidate():
    table = np.array([[0.5, 0.1, np.nan], [0.5, 0.9, np.nan], [np.nan, np.nan, np.nan]])
    first, *_ = external_scores.identify(table, np.arange(3), SETTINGS)
    found = {(row["searched"], row["measure"]): row for row in external_scores.identify(table, np.arange(3), SETTINGS)}
    assert (first["share"], first["n"], first["pool"]) == (0.5, 2, 2)
    top = found[external_scores.AMONG_STIMULI, "top 1"]
    assert (top["share"], top["n"], top["pool"], top["chance"]) == (0.5, 2, 2, 0.5)
