"""Tables that compare guided images with unguided ones: closed forms."""

import numpy as np
import pytest

from brain_diffuser.evaluation import guidance_effect
from brain_diffuser.evaluation.scores import ImageScores, PerImage

NSD_ID = np.arange(40, dtype=np.int32)
UNGUIDED = np.random.default_rng(0).normal(size=40)


def image_scores(gain):
    """Scores of which the second is a distance."""
    rows = [
        PerImage("ssim", "pixel", UNGUIDED + gain, UNGUIDED),
        PerImage("swav", "distance", UNGUIDED + gain, UNGUIDED),
    ]
    return ImageScores(NSD_ID, rows)


@pytest.fixture
def rows():
    gain = np.where(NSD_ID < 30, 0.5, -0.5)
    found = {"recon": image_scores(0), "guided": image_scores(gain), "same": image_scores(0)}
    return guidance_effect.differences(found, {"guided": "recon", "same": "recon"}, n_resamples=500, seed=0)


def test_differences_are_of_pairs(rows):
    """The scores' own scatter, of 1, is not in the interval; of four images three gain, or, of a distance, lose."""
    of = {(row["images"], row["metric"]): row for row in rows}
    ssim, swav = of["guided", "ssim"], of["guided", "swav"]
    assert ssim["difference"] == swav["difference"] == 0.25
    assert 0 < ssim["low"] < 0.25 < ssim["high"] < 0.5
    assert (ssim["better"], swav["better"]) == (0.75, 0.25)
    assert (ssim["against"], ssim["n"]) == ("recon", 40)
    np.testing.assert_allclose(ssim["mean"], UNGUIDED.mean() + 0.25, atol=1e-6)
    same = of["same", "ssim"]
    assert (same["difference"], same["low"], same["high"], same["better"]) == (0, 0, 0, 0)


def test_one_row_for_each_set(rows):
    guided, same = guidance_effect.pivot(rows)
    assert list(guided) == ["images", "against", "ssim", "swav"]
    assert guided["ssim"].startswith(f"{UNGUIDED.mean() + 0.25:.3f} (+0.")
    assert same["swav"].endswith("(+0.000 to +0.000)")


def test_the_grid_leaves_empty_what_was_not_made(rows):
    found = guidance_effect.grid(rows, [(1.0, 0.2, "guided"), (3.0, 0.4, "same")])
    assert found[:2] == [
        {"metric": "ssim", "kappa": 1.0, "eta 0.2": "+0.250", "eta 0.4": ""},
        {"metric": "ssim", "kappa": 3.0, "eta 0.2": "", "eta 0.4": "+0.000"},
    ]
    assert [row["metric"] for row in found] == ["ssim", "ssim", "swav", "swav"]
    assert guidance_effect.grid(rows, []) == []


def test_consistency_stands_side_by_side():
    row = {"features": "ssim", "measure": "worst", "mean": "0.5", "low": "0.4", "high": "0.6"}
    found = guidance_effect.join_repeats({"recon": [row], "guided": [row | {"mean": "0.7"}]})
    cells = {"recon": "0.500 (0.400 to 0.600)", "guided": "0.700 (0.400 to 0.600)"}
    assert found == [{"features": "ssim", "measure": "worst"} | cells]


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="no variant has a section guidance and an unguided variant"):
        guidance_effect.differences({}, {}, n_resamples=2, seed=0)


def test_images_that_were_not_measured_are_left_out():
    def of(values):
        return ImageScores(np.arange(3, dtype=np.int32), [PerImage("pix_corr", "similarity", values, values)])

    guided, unguided = np.array([0.5, np.nan, 0.9]), np.array([0.4, 0.7, 0.7])
    sets = {"a": of(guided), "b": of(unguided), "c": of(np.full(3, np.nan))}
    (row, nothing) = guidance_effect.differences(sets, {"a": "b", "c": "b"}, n_resamples=20, seed=0)
    assert (row["n"], row["mean"], row["difference"], row["better"]) == (2, 0.7, 0.15, 1.0)
    assert nothing["n"] == 0
    assert np.isnan([nothing[key] for key in ("mean", "difference", "low", "high", "better")]).all()
    assert guidance_effect.pivot([nothing])[0]["pix_corr"] == "not measured"
    assert guidance_effect.grid([nothing], [(0.1, 0.2, "c")])[0]["eta 0.2"] == ""
    repeated = {"features": "clip", "measure": "worst", "mean": "", "low": "", "high": ""}
    assert guidance_effect.join_repeats({"a": [repeated]})[0]["a"] == "not measured"
