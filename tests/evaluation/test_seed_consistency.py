"""Consistency of repeats: closed forms."""

import numpy as np
import pytest

from brain_diffuser.evaluation import seed_consistency


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_equal_repeats_have_no_variance(rng):
    stimuli = rng.normal(size=(6, 40))
    found = seed_consistency.feature_consistency([stimuli] * 3, stimuli)
    for measure, expected in (("between_repeats", 1), ("with_stimulus", 1), ("worst", 1)):
        np.testing.assert_allclose(found[measure], expected)
    for measure in ("spread", "bias", "variance"):
        np.testing.assert_allclose(found[measure], 0, atol=1e-12)


def test_bias_and_variance_add_up_to_the_error(rng):
    stimuli = rng.normal(size=(300, 50))
    repeats = [stimuli + 1 + rng.normal(size=stimuli.shape) for _ in range(5)]
    found = seed_consistency.bias_and_variance(repeats, stimuli)
    error = np.mean([((each - stimuli) ** 2).mean(1) for each in repeats], axis=0) / stimuli.var(0).mean()
    np.testing.assert_allclose(found["bias"] + found["variance"], error)
    np.testing.assert_allclose(found["bias"].mean(), 1 + 1 / 5, atol=0.05)  # the mean of 5 keeps a fifth of the noise
    np.testing.assert_allclose(found["variance"].mean(), 4 / 5, atol=0.05)


def test_correlations_are_numpys(rng):
    a, b, stimuli = rng.normal(size=(3, 4, 30))
    found = seed_consistency.feature_consistency([a, b], stimuli)
    np.testing.assert_allclose(found["between_repeats"], [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])
    own = np.array([[np.corrcoef(x, y)[0, 1] for x, y in zip(each, stimuli, strict=True)] for each in (a, b)])
    np.testing.assert_allclose(found["with_stimulus"], own.mean(0))
    np.testing.assert_allclose(found["worst"], own.min(0))


def test_pixels(rng):
    stimuli = rng.integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    found = seed_consistency.pixel_consistency("pixels", [stimuli, 255 - stimuli], stimuli, "brain_diffuser")
    np.testing.assert_allclose(found["pix_corr"]["between_repeats"], -1)
    np.testing.assert_allclose(found["pix_corr"]["with_stimulus"], 0, atol=1e-12)
    assert (found["ssim"]["worst"] < found["ssim"]["with_stimulus"]).all()
    assert set(found["pix_corr"]) == {*found["ssim"], "bias", "variance"}


def test_one_repeat_is_none(rng):
    with pytest.raises(ValueError, match="got 1, expected at least 2"):
        seed_consistency.feature_consistency([np.ones((2, 3))], np.ones((2, 3)))


def test_what_does_not_vary_is_not_measured(rng):
    """Neither a black repeat nor a stimulus without contrast correlates 0."""
    stimuli = rng.normal(size=(4, 30))
    repeats = [stimuli + rng.normal(size=stimuli.shape) for _ in range(3)]
    repeats[1][2] = 0.5
    found = seed_consistency.feature_consistency(repeats, stimuli)
    for measure in ("between_repeats", "with_stimulus", "worst", "spread"):
        assert np.isnan(found[measure]).tolist() == [False, False, True, False]
    rows = {row[1]: row for row in seed_consistency.tabulate({"clip": found}, n_repeats=3, n_resamples=9, seed=0)}
    assert rows["worst"][-1] == 3
    assert rows["variance"][-1] == 4
    measured = np.delete(found["worst"], 2)
    assert rows["worst"][2] == f"{measured.mean():.4f}"
    nothing = seed_consistency.feature_consistency([np.ones((2, 5))] * 2, np.ones((2, 5)))
    rows = seed_consistency.tabulate({"clip": nothing}, n_repeats=2, n_resamples=9, seed=0)
    assert {row[2:] for row in rows} == {("", "", "", 2, 0)}
