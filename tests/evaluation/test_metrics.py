"""The numbers: closed forms, independent computations, chance."""

import tracemalloc

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from torch.nn import functional

from brain_diffuser.artifacts import image_files
from brain_diffuser.evaluation import metrics, pixels, registry, statistics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def stimuli(rng):
    """Smooth images, as natural ones are."""
    noise = ndimage.gaussian_filter(rng.normal(size=(8, 45, 37, 3)), (0, 3, 3, 0))
    return (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


@pytest.fixture
def reconstructions(rng, stimuli):
    noisy = stimuli + rng.normal(0, 30, stimuli.shape)
    return image_files.resize(noisy.clip(0, 255).astype(np.uint8), 16, "bilinear")


def resized_by_pil(image, like):
    return np.asarray(Image.fromarray(image).resize((like.shape[1], like.shape[0]))) / 255


def scored(stimuli, reconstructions, metric, protocol="brain_diffuser"):
    return registry.score_pixels("pixels", stimuli, reconstructions, protocol)[metric]


def test_pix_corr_is_numpys_correlation(stimuli, reconstructions):
    expected = [
        np.corrcoef((stimulus / 255).ravel(), resized_by_pil(reconstruction, stimulus).ravel())[0, 1]
        for stimulus, reconstruction in zip(stimuli, reconstructions, strict=True)
    ]
    np.testing.assert_allclose(scored(stimuli, reconstructions, "pix_corr"), expected, rtol=1e-10)


def test_pix_corr_of_an_image_with_itself_its_negative_and_nothing(stimuli):
    np.testing.assert_allclose(scored(stimuli, stimuli, "pix_corr"), 1)
    np.testing.assert_allclose(scored(stimuli, 255 - stimuli, "pix_corr"), -1)
    assert np.isnan(scored(stimuli, np.full_like(stimuli, 9), "pix_corr")).all()


def grey_pair(stimulus, reconstruction):
    return rgb2gray(stimulus / 255), rgb2gray(resized_by_pil(reconstruction, stimulus))


def scikit_images(a, b, channel_axis):
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    return structural_similarity(a, b, channel_axis=channel_axis, **settings)


def test_ssim_of_the_paper_takes_columns_for_colours(stimuli, reconstructions):
    """What became of the paper's call, which took the last axis for colour."""
    expected = [scikit_images(*grey_pair(*pair), -1) for pair in zip(stimuli, reconstructions, strict=True)]
    np.testing.assert_allclose(scored(stimuli, reconstructions, "ssim"), expected, rtol=1e-10)


def as_mindeye(image):
    """Torch's antialiased resizes, as in the programs of that family."""
    tensor = torch.from_numpy(image / 255).permute(2, 0, 1)[None]
    for size in (256, 425):
        tensor = functional.interpolate(tensor, (size, size), mode="bilinear", antialias=True)
    return tensor[0].permute(1, 2, 0).numpy()


def test_mindeye_protocol_is_torchs_resize_and_ssim_proper(stimuli, reconstructions):
    pairs = [[as_mindeye(each) for each in pair] for pair in zip(stimuli, reconstructions, strict=True)]
    found = registry.score_pixels("pixels", stimuli, reconstructions, "mindeye")
    np.testing.assert_allclose(
        found["pix_corr"], [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs], atol=1e-5
    )
    np.testing.assert_allclose(
        found["ssim"], [scikit_images(rgb2gray(a), rgb2gray(b), None) for a, b in pairs], atol=1e-4
    )


def test_protocols_keep_their_numbers():
    """The paper's SSIM is some hundredths above SSIM proper."""
    cat = skimage.data.chelsea()[None, :, :300]
    small = image_files.resize(cat, 32, "bilinear")
    np.testing.assert_allclose(pixels._ssim(*grey_pair(cat[0], small[0])), 0.55590, atol=1e-4)
    np.testing.assert_allclose(scored(cat, small, "ssim"), [0.62734], atol=1e-4)
    np.testing.assert_allclose(scored(cat, cat, "ssim"), 1)
    np.testing.assert_allclose(scored(cat, cat, "ssim", "mindeye"), 1)


def test_unknown_protocol(stimuli):
    with pytest.raises(ValueError, match=r"metrics\.protocol must be brain_diffuser or mindeye, got minds"):
        registry.score_pixels("pixels", stimuli, stimuli, "minds")


def naive(true, predicted, kind, assigned):
    n = len(true)
    correlation = np.array([[np.corrcoef(true[i], predicted[j])[0, 1] for j in range(n)] for i in range(n)])
    if kind == "distance":
        return [1 - correlation[i, assigned[i]] for i in range(n)]
    return [
        np.mean([correlation[other, assigned[i]] < correlation[i, assigned[i]] for other in range(n) if other != i])
        for i in range(n)
    ]


@pytest.mark.parametrize("kind", ["two_way", "distance"])
@pytest.mark.parametrize("block_items", [2**24, 45])
def test_metrics_of_features_are_the_double_loop(rng, monkeypatch, block_items, kind):
    monkeypatch.setattr(statistics, "BLOCK_ITEMS", block_items)  # 45: blocks of 3 features, the last of 2
    true = rng.normal(5, 1, size=(14, 20)).astype(np.float32)
    predicted = true + rng.normal(0, 3, true.shape).astype(np.float32)
    assigned = statistics.cyclic_derangement(14, 0)
    scores, control = metrics.compare(true, predicted, kind, assigned)
    np.testing.assert_allclose(scores, naive(true, predicted, kind, np.arange(14)))
    np.testing.assert_allclose(control, naive(true, predicted, kind, assigned))


def two_way(true, predicted):
    return metrics.compare(true, predicted, "two_way", statistics.cyclic_derangement(len(true), 0))[0]


def test_two_way_of_perfect_inverted_and_unvarying_predictions(rng):
    true = rng.normal(size=(20, 30))
    np.testing.assert_array_equal(two_way(true, true), 1)
    np.testing.assert_array_equal(two_way(true, -true), 0)
    assert np.isnan(two_way(true, np.full_like(true, 0.1))).all()


@pytest.mark.parametrize("kind", ["two_way", "distance"])
def test_features_that_do_not_vary_are_not_measured_and_change_no_other_score(rng, kind):
    true = rng.normal(size=(9, 20))
    predicted = true + rng.normal(size=true.shape)
    assigned = statistics.cyclic_derangement(9, 0)
    expected = metrics.compare(true[1:], predicted[1:], kind, statistics.cyclic_derangement(8, 0))[0]
    for constant in (0.0, 0.1, -3e8):
        stimulus, image = true.copy(), predicted.copy()
        stimulus[0] = constant
        scores, control = metrics.compare(stimulus, predicted, kind, assigned)
        assert np.isnan(scores[0])
        np.testing.assert_array_equal(scores[1:], expected)  # the stimulus is not among the others
        assert np.isnan(control).sum() == 1
        image[0] = constant
        scores, control = metrics.compare(true, image, kind, assigned)
        assert np.isnan(scores[0])
        assert np.isfinite(scores[1:]).all()
        assert np.isnan(control).sum() == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_features_that_are_not_finite_are_refused(rng, bad, which):
    features = rng.normal(size=(2, 6, 20)).astype(np.float32)
    features[which, 4, 7] = bad
    whose = ("the stimuli", "the images")[which]
    with pytest.raises(ValueError, match=f"row 4 of the batch: {bad} in the features of {whose}; expected finite"):
        metrics.compare(*features, "two_way", statistics.cyclic_derangement(6, 0))


def test_means_and_intervals_are_those_of_what_was_measured(rng):
    scores = rng.normal(size=30)
    mean, interval, n = statistics.mean_and_ci(np.insert(scores, [0, 7, 30], np.nan), 50, 0)
    assert (mean, interval, n) == (scores.mean(), statistics.bootstrap_ci(scores, 50, 0), 30)
    mean, interval, n = statistics.mean_and_ci(np.full(3, np.nan), 50, 0)
    assert n == 0
    assert np.isnan([mean, *interval]).all()
    with pytest.raises(ValueError, match=r"score 1 \(from 0\) of 2 is infinite"):
        statistics.mean_and_ci(np.array([1, -np.inf]), 50, 0)


def test_two_way_counts_a_tie_against_the_prediction():
    true = np.array([[0.0, 1, 2], [0, 1, 2], [2, 1, 0]])
    np.testing.assert_array_equal(two_way(true, true), [0.5, 0.5, 1])


def test_shuffled_identification_is_at_chance_within_its_interval(rng):
    features = rng.normal(size=(300, 50))
    scores, control = metrics.compare(features, features, "two_way", statistics.cyclic_derangement(300, 0))
    low, high = statistics.bootstrap_ci(control, 500, seed=0)
    assert scores.mean() == 1
    assert low < 0.5 < high


def test_order_of_the_images_changes_no_score(rng):
    true, predicted = rng.normal(size=(2, 9, 30))
    order = rng.permutation(9)
    np.testing.assert_allclose(two_way(true[order], predicted[order]), two_way(true, predicted)[order])


def test_wide_features_take_bounded_memory(rng, monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK_ITEMS", 2**14)
    true = rng.normal(size=(8, 200_000)).astype(np.float32)
    tracemalloc.start()
    statistics.correlation_matrix(true, true)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < true.nbytes / 4


@pytest.mark.parametrize(("kind", "message"), [("two_way", "got 1, expected at least 2"), ("cosine", "got cosine")])
def test_what_cannot_be_compared(kind, message):
    with pytest.raises(ValueError, match=message):
        metrics.compare(np.ones((1, 3)), np.ones((1, 3)), kind, np.array([0]))


def test_correlations_are_numpys_and_nan_where_nothing_varies(rng):
    a, b = rng.normal(5, 1, size=(2, 6, 40))
    a[2], b[4] = 0.1, 0.0
    varies = np.array([True, True, False, True, False, True])
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(a[varies], b[varies], strict=True)]
    matrix = statistics.correlation_matrix(a, b)
    for found in (statistics.pearson_of_rows(a, b), statistics.pearson(a.T, b.T), matrix.diagonal()):
        np.testing.assert_allclose(found[varies], expected)
        assert np.isnan(found[~varies]).all()
    assert np.isnan(matrix[2]).all()
    assert np.isnan(matrix[:, 4]).all()
    assert np.isfinite(matrix[np.arange(6) != 2][:, np.arange(6) != 4]).all()


@pytest.mark.parametrize("n_stimuli", [2, 3, 50])
def test_no_stimulus_keeps_its_reconstruction_in_a_shuffled_pairing(n_stimuli):
    assigned = statistics.cyclic_derangement(n_stimuli, 3)
    assert sorted(assigned) == list(range(n_stimuli))
    assert (assigned != np.arange(n_stimuli)).all()


def test_a_shuffled_pairing_needs_others():
    with pytest.raises(ValueError, match="a shuffled pairing needs other stimuli; got 1"):
        statistics.cyclic_derangement(1, 0)


def test_interval_is_that_of_the_standard_error(rng):
    scores = rng.normal(3, 2, 400)
    low, high = statistics.bootstrap_ci(scores, 4000, seed=0)
    error = scores.std() / 20
    np.testing.assert_allclose([low, high], [scores.mean() - 1.96 * error, scores.mean() + 1.96 * error], atol=0.02)
    assert statistics.bootstrap_ci(scores, 4000, seed=0) == (low, high)
