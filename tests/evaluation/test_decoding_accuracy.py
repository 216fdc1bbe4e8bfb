"""Accuracy of columns, regions, and plots that stand inside a page."""

import xml.etree.ElementTree

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import decoding_accuracy


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_correlations_of_columns_are_numpys(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(decoding_accuracy, "BLOCK_COLUMNS", 3)
    predicted, true = rng.normal(size=(2, 20, 7)).astype(np.float32)
    true[:, 4] = 1
    for name, values in (("p", predicted), ("t", true)):
        hdf5.save(tmp_path / f"{name}.h5", values, np.arange(20))
    found = decoding_accuracy.column_correlations(tmp_path / "p.h5", tmp_path / "t.h5")
    varies = np.arange(7) != 4
    expected = [np.corrcoef(predicted[:, column], true[:, column])[0, 1] for column in np.flatnonzero(varies)]
    np.testing.assert_allclose(found[varies], expected)
    assert np.isnan(found[4])


def test_quartiles_leave_out_what_does_not_vary():
    assert decoding_accuracy.quartiles(np.array([0.1, np.nan, 0.2, 0.3])) == (0.15, 0.2, 0.25)
    assert np.isnan(decoding_accuracy.quartiles(np.array([np.nan]))).all()


def test_plots_are_whole_and_the_same_every_time(rng):
    row = {"region": "V1", "voxels": 9, "quartile_1": 0.1, "median": 0.3, "quartile_3": 0.4, "ceiling": 0.6}
    makers = (
        lambda: decoding_accuracy.plot_decoding(
            {"vdvae": rng.normal(0.3, 0.1, 50), "clip_text": np.array([0.5, np.nan])}
        ),
        lambda: decoding_accuracy.plot_decoding({"clip_text": np.array([np.nan])}),
        lambda: decoding_accuracy.plot_regions([row]),
        lambda: decoding_accuracy.plot_ceiling(np.linspace(0, 1, 30), 2.5),
    )
    for make in makers[1:]:
        assert make() == make()
    for make in makers:
        text = make()
        assert xml.etree.ElementTree.fromstring(text).tag.endswith("svg")
        assert "correlation" in text or "noise ceiling, %" in text


def test_a_feature_of_which_nothing_varies_has_empty_cells(tmp_path):
    """Not 0, and not the word nan."""
    decoding = {"clip_text": np.full(4, np.nan), "vdvae": np.array([0.1, 0.3])}
    ceiling, regions = np.full(3, np.nan), {"all": np.ones(3, bool)}
    decoding_accuracy.write(tmp_path, decoding, np.full(3, np.nan), ceiling, regions, 1.0)
    assert (tmp_path / "decoding.csv").read_text().splitlines()[1:] == ["clip_text,4,,,", "vdvae,2,0.15,0.2,0.25"]
    assert (tmp_path / "encoding.csv").read_text().splitlines()[1:] == ["all,3,,,,"]
