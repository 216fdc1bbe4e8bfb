"""The numbers: closed forms, independent computations, chance."""

import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity

from brain_diffuser import metrics, pictures


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def stimuli(rng):
    """Smooth pictures, as natural ones are."""
    noise = ndimage.gaussian_filter(rng.normal(size=(8, 45, 37, 3)), (0, 3, 3, 0))
    return (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


@pytest.fixture
def reconstructions(rng, stimuli):
    noisy = stimuli + rng.normal(0, 30, stimuli.shape)
    return pictures.resize(noisy.clip(0, 255).astype(np.uint8), 16, "bilinear")


def judged(images):
    """Pictures with a simple judge's features: the mean colour in each of 3 x 3 fields."""
    return metrics.Judged(images, pictures.resize(images, 3, "bilinear").reshape(len(images), -1).astype(np.float32))


def resized_by_pil(picture, like):
    return np.asarray(Image.fromarray(picture).resize((like.shape[1], like.shape[0]))) / 255


def test_pix_corr_is_numpys_correlation(stimuli, reconstructions):
    expected = [
        np.corrcoef((stimulus / 255).ravel(), resized_by_pil(reconstruction, stimulus).ravel())[0, 1]
        for stimulus, reconstruction in zip(stimuli, reconstructions, strict=True)
    ]
    np.testing.assert_allclose(metrics.pix_corr(stimuli, reconstructions), expected, rtol=1e-10)


def test_pix_corr_of_a_picture_with_itself_its_negative_and_nothing(stimuli):
    np.testing.assert_allclose(metrics.pix_corr(stimuli, stimuli), 1)
    np.testing.assert_allclose(metrics.pix_corr(stimuli, 255 - stimuli), -1)
    np.testing.assert_array_equal(metrics.pix_corr(stimuli, np.full_like(stimuli, 9)), 0)


def grey_pair(stimulus, reconstruction):
    return rgb2gray(stimulus / 255), rgb2gray(resized_by_pil(reconstruction, stimulus))


@pytest.mark.parametrize(("variant", "channel_axis"), [("2d", None), ("columns", -1)])
def test_ssim_is_scikit_images(stimuli, reconstructions, variant, channel_axis):
    """Columns as channels: what became of the paper's call, which took the last axis for colour."""
    expected = [
        structural_similarity(
            *grey_pair(*pair),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=channel_axis,
        )
        for pair in zip(stimuli, reconstructions, strict=True)
    ]
    np.testing.assert_allclose(metrics.ssim(stimuli, reconstructions, variant), expected, rtol=1e-10)


def test_ssim_variants_keep_their_numbers():
    cat = skimage.data.chelsea()[None, :, :300]
    small = pictures.resize(cat, 32, "bilinear")
    np.testing.assert_allclose(metrics.ssim(cat, small), [0.55590], atol=1e-4)
    np.testing.assert_allclose(metrics.ssim(cat, small, "columns"), [0.62734], atol=1e-4)
    np.testing.assert_allclose(metrics.ssim(cat, cat), 1)


def test_unknown_ssim_variant(stimuli):
    with pytest.raises(ValueError, match="SSIM variant must be 2d or columns, got 1d"):
        metrics.ssim(stimuli, stimuli, "1d")


def naive_two_way(true, predicted):
    n = len(true)
    correlation = np.array([[np.corrcoef(true[i], predicted[j])[0, 1] for j in range(n)] for i in range(n)])
    return [np.mean([correlation[i, j] < correlation[j, j] for i in range(n) if i != j]) for j in range(n)]


@pytest.mark.parametrize("block_items", [2**24, 60])
def test_two_way_is_the_double_loop(rng, monkeypatch, block_items):
    monkeypatch.setattr(metrics, "BLOCK_ITEMS", block_items)  # 60: blocks of 3 stimuli, the last of 2
    true = rng.normal(size=(14, 20)).astype(np.float32)
    predicted = true + rng.normal(0, 3, true.shape).astype(np.float32)
    np.testing.assert_allclose(metrics.two_way_identification(true, predicted), naive_two_way(true, predicted))


def test_two_way_of_perfect_inverted_and_unvarying_predictions(rng):
    true = rng.normal(size=(20, 30))
    np.testing.assert_array_equal(metrics.two_way_identification(true, true), 1)
    np.testing.assert_array_equal(metrics.two_way_identification(true, -true), 0)
    np.testing.assert_array_equal(metrics.two_way_identification(true, np.ones_like(true)), 0)


def test_two_way_counts_a_tie_against_the_prediction():
    true = np.array([[0.0, 1, 2], [0, 1, 2], [2, 1, 0]])
    np.testing.assert_array_equal(metrics.two_way_identification(true, true), [0.5, 0.5, 1])


def test_two_way_of_unrelated_features_is_at_chance(rng):
    true, predicted = rng.normal(size=(2, 600, 50))
    assert abs(metrics.two_way_identification(true, predicted).mean() - 0.5) < 0.03


def test_two_way_needs_others(rng):
    with pytest.raises(ValueError, match="got 1, expected at least 2"):
        metrics.two_way_identification(np.ones((1, 3)), np.ones((1, 3)))


def test_correlation_distance_is_numpys(rng, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_ITEMS", 25)
    true, predicted = rng.normal(size=(2, 7, 9))
    expected = [1 - np.corrcoef(x, y)[0, 1] for x, y in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(metrics.correlation_distance(true, predicted), expected)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_every_metric_scores_every_image_and_moves_with_it(name, rng, stimuli, reconstructions):
    seen, made = judged(stimuli), judged(reconstructions)
    scores = metrics.METRICS[name](seen, made)
    assert scores.shape == (8,)
    assert np.isfinite(scores).all()
    order = rng.permutation(8)
    permuted = metrics.METRICS[name](seen[order], made[order])
    np.testing.assert_allclose(permuted, scores[order], atol=1e-12)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_shuffling_costs_every_metric(name, stimuli, reconstructions):
    metric, seen, made = metrics.METRICS[name], judged(stimuli), judged(reconstructions)
    own = metric(seen, made).mean()
    shuffled = metrics.shuffled_control(metric, seen, made, seed=0).mean()
    assert own < shuffled if name == "correlation_distance" else own > shuffled


def test_shuffled_identification_is_at_chance(rng):
    images = judged(rng.integers(0, 256, (300, 4, 4, 3), dtype=np.uint8))
    metric = metrics.METRICS["two_way_identification"]
    assert metric(images, images).mean() == 1
    assert abs(metrics.shuffled_control(metric, images, images, seed=0).mean() - 0.5) < 0.05


@pytest.mark.parametrize("n_stimuli", [2, 3, 50])
def test_shuffling_leaves_no_stimulus_its_own(n_stimuli):
    stimuli = judged(np.tile(np.arange(n_stimuli, dtype=np.uint8)[:, None, None, None], (1, 2, 2, 3)))
    assigned = metrics.shuffled_control(lambda _, made: made.images[:, 0, 0, 0] * 1.0, stimuli, stimuli, seed=3)
    assert sorted(assigned) == list(range(n_stimuli))
    assert (assigned != np.arange(n_stimuli)).all()


def test_shuffling_needs_others(stimuli):
    with pytest.raises(ValueError, match="a shuffled control needs other stimuli; got 1"):
        metrics.shuffled_control(metrics.METRICS["ssim"], judged(stimuli[:1]), judged(stimuli[:1]), seed=0)
