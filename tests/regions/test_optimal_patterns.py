"""Synthetic responses: predictions without weights equal those with them, and a region's features are its own."""

import h5py
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge
from brain_diffuser.regions import optimal_patterns

N_TRAIN, N_TEST, N_VOXELS, SHAPE = 30, 6, 40, (3, 7)
ALPHA = 5.0


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def masks():
    place = np.arange(N_VOXELS)
    return {"all": place >= 0, "faces": place < 6, "V1": (place >= 6) & (place < 15), "most": place < 30}


@pytest.fixture
def toy_ridge(tmp_path, rng):
    """Betas, a file of features, the kernel, and weights (features, voxels) by scikit-learn."""
    betas = hdf5.StimulusArray(
        rng.normal(2, 3, (N_TRAIN, N_VOXELS)).astype(np.float32), np.arange(N_TRAIN, dtype=np.int32)
    )
    test = hdf5.StimulusArray(
        rng.normal(2, 3, (N_TEST, N_VOXELS)).astype(np.float32), np.arange(90, 96, dtype=np.int32)
    )
    features = rng.normal(1, 2, (N_TRAIN, *SHAPE)).astype(np.float32)
    hdf5.save(tmp_path / "train.h5", features, betas.nsd_id, axes=("tokens", "dim"))
    kernel = ridge.kernel(betas, test)
    z = (betas.values - kernel.betas_mean) / kernel.betas_std
    fit = Ridge(ALPHA).fit(z, features.reshape(N_TRAIN, -1).astype(np.float64))
    return betas, features.reshape(N_TRAIN, -1).astype(np.float64), kernel, fit, tmp_path


def predicted(toy_ridge, patterns, rescale="none"):
    betas, _, kernel, _, folder = toy_ridge
    rows = ridge.cross_kernel(kernel, betas, patterns, standardised=True)
    kernel = kernel._replace(test=rows, test_id=np.zeros(len(rows), np.int32))
    ridge.predict(kernel, folder / "train.h5", folder / "made.h5", alpha=ALPHA, rescale=rescale)
    return hdf5.load(folder / "made.h5").values.reshape(len(rows), -1).astype(np.float64)


def test_no_weights_are_needed(toy_ridge, masks):
    _, patterns = optimal_patterns.binary_patterns(masks, ["faces", "V1"], seed=0)
    fit = toy_ridge[3]
    np.testing.assert_allclose(
        predicted(toy_ridge, patterns), patterns @ fit.coef_.T + fit.intercept_, rtol=1e-5, atol=1e-5
    )


def test_published_programs_features(toy_ridge, masks):
    """The formula of the released code, from weights, against ours, from the kernel; z-scores are over the regions."""
    _, features, _, fit, _ = toy_ridge
    names, patterns = optimal_patterns.binary_patterns(masks, ["faces", "V1", "most"], seed=0, controls=False)
    assert names == ["rest", "faces", "V1", "most"]
    mean, std = optimal_patterns.column_statistics(toy_ridge[4] / "train.h5")
    np.testing.assert_allclose(mean, features.mean(0))
    np.testing.assert_allclose(std, features.std(0))
    made = predicted(toy_ridge, patterns)
    direction = patterns[1:].astype(np.float64) @ fit.coef_.T
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    for feature, norm in (("clip_text", 9), ("clip_vision", 15)):
        expected = norm * direction + fit.intercept_
        np.testing.assert_allclose(
            optimal_patterns.as_released(made, mean, std, feature)[1:], expected, rtol=1e-4, atol=1e-4
        )
    latents = 50 * direction + fit.intercept_
    latents = (latents - latents.mean(0)) / latents.std(0) * features.std(0) + features.mean(0)
    latents = 80 * latents / np.linalg.norm(latents, axis=1, keepdims=True)
    np.testing.assert_allclose(
        optimal_patterns.as_released(made, mean, std, "vdvae")[1:], latents, rtol=1e-3, atol=1e-3
    )


def test_features_are_as_far_from_the_mean_as_stimuli_and_a_regions_own(toy_ridge, masks):
    _, features, _, _, folder = toy_ridge
    mean, std = optimal_patterns.column_statistics(folder / "train.h5")
    typical = np.sqrt(((features - features.mean(0)) ** 2).sum(1).mean())
    found = {}
    for names in (["faces", "V1"], ["V1", "most", "faces"]):
        listed, patterns = optimal_patterns.binary_patterns(masks, names, seed=3)
        made = optimal_patterns.training_like(predicted(toy_ridge, patterns, "train_oof"), mean, std, scale=0.5)
        np.testing.assert_allclose(made[0], features.mean(0), rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(made[1:] - mean, axis=1), 0.5 * typical, rtol=1e-6)
        found[len(names)] = dict(zip(listed, made, strict=True))
    assert set(found[2]) == {"rest", "faces", "V1", "random_faces", "random_V1"}
    for name, row in found[2].items():
        np.testing.assert_allclose(row, found[3][name], rtol=1e-5, atol=1e-5)
    assert "random_most" not in found[3]  # ten voxels are left outside of its thirty


def test_a_pattern_without_weights(masks):
    with pytest.raises(ValueError, match="pattern 2 changes no feature"):
        optimal_patterns.training_like(np.array([[1.0, 2], [2, 2], [1, 2]]), np.zeros(2), np.ones(2), scale=1.0)


def test_random_voxels(masks):
    control = optimal_patterns.random_voxels(masks["V1"], 0, "V1")
    assert control.sum() == masks["V1"].sum()
    assert not (control & masks["V1"]).any()
    assert np.array_equal(control, optimal_patterns.random_voxels(masks["V1"], 0, "V1"))
    for other in (
        optimal_patterns.random_voxels(masks["V1"], 1, "V1"),
        optimal_patterns.random_voxels(masks["V1"], 0, "V1", draw=1),
    ):
        assert not np.array_equal(control, other)
    assert optimal_patterns.random_voxels(masks["most"], 0, "most") is None


def test_the_published_programs_v1_to_v4(tmp_path, masks, caplog):
    with h5py.File(tmp_path / "rois.h5", "w") as file:
        file["floc-faces/labels"] = np.resize([-1, 0, 1, 2, 3, 4, 5], N_VOXELS).astype(np.int16)
    labels = np.resize([-1, 0, 1, 2, 3, 4, 5], N_VOXELS)
    found = optimal_patterns.released_masks(tmp_path / "rois.h5", masks | {"V4": masks["V1"], "V3": masks["V1"]})
    assert np.array_equal(found["V1"], np.isin(labels, (1, 2)))
    assert np.array_equal(found["V3"], labels == 5)
    assert np.array_equal(found["faces"], masks["faces"])
    assert "V4" not in found
    assert "V4 has no voxel in the published program; left out" in caplog.text


def test_average_is_as_far_from_rest_as_subjects_are(rng):
    subjects = [rng.normal(size=(3, 4, 2)) for _ in range(3)]
    made = optimal_patterns.average(subjects)
    np.testing.assert_allclose(made[0], np.mean([each[0] for each in subjects], axis=0))
    change = made - made[0]
    expected = np.mean([each - each[0] for each in subjects], axis=0)
    lengths = [np.sqrt(((each - each[0]) ** 2).sum((1, 2))) for each in subjects]
    np.testing.assert_allclose(np.sqrt((change**2).sum((1, 2))), np.mean(lengths, axis=0))
    for row in (1, 2):
        assert np.corrcoef(change[row].ravel(), expected[row].ravel())[0, 1] == pytest.approx(1)
    np.testing.assert_allclose(optimal_patterns.average(subjects[:1]), subjects[0])


def test_perturbed_responses(toy_ridge, masks):
    betas, _, kernel, fit, folder = toy_ridge
    changes = ridge.cross_kernel(kernel, betas, masks["faces"][None].astype(np.float32), standardised=True)
    names, rows, nsd_id = optimal_patterns.perturbed(kernel, ["faces"], changes, 2, [-2.0, 0.0, 1.5])
    assert names[:3] == ["faces_nsd00090_-2", "faces_nsd00090_+0", "faces_nsd00090_+1.5"]
    assert nsd_id.tolist() == [90] * 3 + [91] * 3
    np.testing.assert_array_equal(rows[[1, 4]], kernel.test[:2])
    ridge.predict(
        kernel._replace(test=rows, test_id=nsd_id), folder / "train.h5", folder / "p.h5", alpha=ALPHA, rescale="none"
    )
    made = hdf5.load(folder / "p.h5").values.reshape(6, -1)
    np.testing.assert_allclose(made[2] - made[1], 1.5 * fit.coef_[:, masks["faces"]].sum(1), rtol=1e-3, atol=1e-4)


def test_more_stimuli_than_there_are(toy_ridge, masks):
    changes = np.zeros((1, N_TRAIN))
    with pytest.raises(ValueError, match=r"roi.perturb.stimuli is 7, there are 6 test stimuli; ask for fewer"):
        optimal_patterns.perturbed(toy_ridge[2], ["faces"], changes, 7, [0.0])


def test_files_keep_names(tmp_path):
    values = np.arange(6, dtype=np.float64).reshape(2, 1, 3)
    optimal_patterns.save(tmp_path / "made.h5", values, ["rest", "faces"], np.array([0, 0], np.int32))
    names, rows = optimal_patterns.load(tmp_path / "made.h5")
    assert names == ["rest", "faces"]
    np.testing.assert_array_equal(rows.values, values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_features_of_a_pattern_that_are_not_finite_name_it(tmp_path, bad):
    """Ids are numbers of images here, which name no pattern."""
    features = np.zeros((3, 2, 4))
    features[1, 1, 2] = bad
    with pytest.raises(ValueError, match=r"out\.h5: the features of pattern faces are not finite \(and of 0 more\)"):
        optimal_patterns.save(tmp_path / "out.h5", features, ["rest", "faces", "V1"], np.zeros(3, np.int32))
    assert not list(tmp_path.iterdir())


def test_the_published_programs_z_score_over_one_region_is_refused(tmp_path, rng):
    """It divides by a standard deviation of 0."""
    mean, std = rng.normal(size=(2, 8))
    made = optimal_patterns.as_released(rng.normal(size=(2, 8)), mean, np.abs(std), "vdvae")
    with pytest.raises(ValueError, match="the features of pattern faces are not finite"):
        optimal_patterns.save(tmp_path / "out.h5", made, ["rest", "faces"], np.zeros(2, np.int32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_training_features_that_are_not_finite_are_refused(toy_ridge, bad):
    path = toy_ridge[-1] / "train.h5"
    with h5py.File(path, "r+") as file:
        file["values"][7, 3] = bad
    with pytest.raises(ValueError, match=rf"train\.h5, nsd_id 7: {bad} in the file; .* Rerun its job"):
        optimal_patterns.column_statistics(path)
