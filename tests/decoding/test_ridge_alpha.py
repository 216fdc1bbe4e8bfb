"""The penalty by leave-one-out against refits, in both spaces of the kernel."""

import logging

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import alpha_table, kernel_spectrum, ridge, ridge_alpha

ALPHAS = np.array([0.3, 30.0, 3000.0])


def splits(n_train, n_voxels, seed=0):
    rng = np.random.default_rng(seed)
    train, test = (rng.normal(1, 2, (n, n_voxels)).astype(np.float32) for n in (n_train, 6))
    ids = np.arange(n_train + 6, dtype=np.int32)
    return hdf5.StimulusArray(train, ids[:n_train]), hdf5.StimulusArray(test, ids[n_train:])


def targets_of(betas, n_columns=9, noise=3.0, seed=1):
    rng = np.random.default_rng(seed)
    signal = betas[0].values @ rng.normal(size=(betas[0].values.shape[1], n_columns))
    return (signal + noise * signal.std() * rng.normal(size=signal.shape) + rng.normal(0, 50, n_columns)).astype(
        np.float32
    )


@pytest.fixture(params=[(30, 50), (60, 20)], ids=["stimulus space", "voxel space"])
def betas(request):
    return splits(*request.param)


@pytest.fixture
def spectrum(betas):
    return kernel_spectrum.of_kernel(ridge.kernel(*betas))


def test_closed_form_equals_refits_without_each_stimulus(betas, spectrum):
    y = targets_of(betas).astype(np.float64)
    x = betas[0].values.astype(np.float64)
    x = (x - x.mean(0)) / x.std(0, ddof=1)
    correlation, r2 = ridge_alpha.left_out_scores(spectrum, y, ALPHAS)
    for place, alpha in enumerate(ALPHAS):
        kept = [np.arange(len(x)) != row for row in range(len(x))]
        predicted = np.stack([Ridge(alpha).fit(x[rows], y[rows]).predict(x[~rows])[0] for rows in kept])
        np.testing.assert_allclose(1 - ((y - predicted) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0), r2[place])
        predicted -= np.stack([y[rows].mean(0) for rows in kept])
        expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, y.T, strict=True)]
        np.testing.assert_allclose(expected, correlation[place])


def test_spectrum_gives_the_predictions_of_the_ridge(betas, spectrum):
    rows = ridge.rows_of_test(ridge.kernel(*betas), 30.0)
    shrunk = np.sqrt(spectrum.values) / (spectrum.values + 30.0)
    np.testing.assert_allclose(spectrum.test * shrunk @ spectrum.train.T, rows, atol=1e-12)
    assert (np.diff(spectrum.values) <= 0).all()


def test_more_noise_wants_a_larger_penalty(tmp_path):
    betas, best = splits(60, 40), []
    for noise in (0.1, 10.0):
        hdf5.save(tmp_path / "y.h5", targets_of(betas, noise=noise), betas[0].nsd_id, axes=("dim",))
        found = ridge_alpha.curve(
            kernel_spectrum.of_kernel(ridge.kernel(*betas)),
            *(tmp_path / "y.h5", ridge_alpha.grid(0.1, 1e5, 2)),
            columns=100,
            seed=0,
        )
        best.append(found.alpha[found.best])
    assert best[1] > 10 * best[0]


def test_grid_has_equal_ratios_and_both_ends():
    found = ridge_alpha.grid(1.0, 1e7, 2)
    assert len(found) == 15
    assert (found[0], found[-1]) == (1.0, 1e7)
    np.testing.assert_allclose(found[1:] / found[:-1], np.sqrt(10), rtol=1e-3)
    with pytest.raises(ValueError, match="expected 0 < lowest < highest"):
        ridge_alpha.grid(2.0, 1.0, 2)


def test_sample_is_seeded_without_repeats_and_all_if_few():
    found = ridge_alpha.sampled(1000, 50, 3)
    assert len(set(found.tolist())) == 50
    np.testing.assert_array_equal(found, ridge_alpha.sampled(1000, 50, 3))
    assert not np.array_equal(found, ridge_alpha.sampled(1000, 50, 4))
    np.testing.assert_array_equal(ridge_alpha.sampled(5, 50, 3), np.arange(5))


def test_constant_columns_do_not_count_and_constant_features_get_any_penalty(tmp_path):
    betas = splits(30, 50)
    spectrum = kernel_spectrum.of_kernel(ridge.kernel(*betas))
    y = targets_of(betas)
    curves = []
    for name, values in (("all", y), ("more", np.c_[y, np.ones((30, 3), np.float32)])):
        hdf5.save(tmp_path / f"{name}.h5", values, betas[0].nsd_id, axes=("dim",))
        curves.append(ridge_alpha.curve(spectrum, tmp_path / f"{name}.h5", ALPHAS, columns=100, seed=0))
    np.testing.assert_allclose(curves[0].correlation, curves[1].correlation)
    hdf5.save(tmp_path / "flat.h5", np.ones((30, 3), np.float32), betas[0].nsd_id, axes=("dim",))
    flat = ridge_alpha.curve(spectrum, tmp_path / "flat.h5", ALPHAS, columns=100, seed=0)
    ridge_alpha.write(flat, tmp_path / "flat.csv", tmp_path / "flat.svg", "clip_text")
    assert alpha_table.chosen(tmp_path / "flat.csv") == ALPHAS[0]
    assert not flat.is_at_edge


@pytest.mark.parametrize(("scores", "said"), [([0.1, 0.3, 0.2], None), ([0.3, 0.2, 0.1], "lowest, 0.3")])
def test_table_marks_the_best_and_an_edge_is_said(tmp_path, caplog, scores, said):
    found = ridge_alpha.Curve(ALPHAS, np.array(scores), np.array(scores) - 1)
    with caplog.at_level(logging.WARNING):
        ridge_alpha.write(found, tmp_path / "a.csv", tmp_path / "a.svg", "vdvae")
    assert alpha_table.chosen(tmp_path / "a.csv") == found.alpha[found.best]
    assert (said in caplog.text and "set ridge.auto.lowest lower" in caplog.text) if said else not caplog.text
    assert ("at the edge of the grid" in (tmp_path / "a.svg").read_text()) == bool(said)


def test_table_without_one_chosen_penalty_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("alpha,correlation,r2,chosen\n1,0.5,0.1,\n")
    with pytest.raises(ValueError, match="marks 0 penalties as chosen; expected one above 0"):
        alpha_table.chosen(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError) as error:
        alpha_table.chosen(tmp_path / "none.csv")
    assert error.value.filename == str(tmp_path / "none.csv")
