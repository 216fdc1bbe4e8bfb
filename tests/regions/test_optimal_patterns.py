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


def released(weights, bias, masks, train_latents=None, norm=50.0):
    """The published program's features of regions, transcribed: scripts/roi_generate_features.py at 31d52c0."""
    activity = np.stack([mask.astype(np.float64) for mask in masks])
    made = activity @ weights.T
    made = made / (np.sqrt((made**2).sum(1))[:, None] + 1e-8)
    made = made * norm + bias
    if train_latents is None:
        return made
    made = (made - made.mean(0)) / made.std(0)
    made = made * train_latents.std(0) + train_latents.mean(0)
    return 80 * made / np.sqrt((made**2).sum(1))[:, None]


THIRTEEN = ["faces", "words", "places", "bodies", "V1", "V2", "V3", "V4", "ecc_0.5", "ecc_1", "ecc_2", "ecc_4", "far"]
EMPTY = {"none": [], "V4": ["V4"], "V3 and V4": ["V3", "V4"], "first": ["faces"], "all but two": THIRTEEN[2:]}


@pytest.fixture(params=EMPTY.values(), ids=EMPTY)
def some_empty(request, rng):
    """The published program's thirteen regions, some of them without a voxel."""
    return {name: (rng.random(N_VOXELS) < 0.3) & (name not in request.param) for name in THIRTEEN}


@pytest.mark.parametrize("feature", ["vdvae", "clip_text", "clip_vision"])
def test_published_programs_features(toy_ridge, some_empty, feature):
    """From the same weights to rounding: a region without a voxel is a row as any other, and counts in the z-scores."""
    _, features, _, fit, folder = toy_ridge
    mean, std = optimal_patterns.column_statistics(folder / "train.h5")
    np.testing.assert_allclose(mean, features.mean(0))
    np.testing.assert_allclose(std, features.std(0))
    names, patterns = optimal_patterns.binary_patterns(some_empty, list(some_empty), seed=0, controls=False)
    assert names == ["rest", *some_empty]
    more = {"vdvae": {"train_latents": features}, "clip_text": {"norm": 9.0}, "clip_vision": {"norm": 15.0}}[feature]
    expected = released(fit.coef_, features.mean(0), some_empty.values(), **more)
    made = optimal_patterns.as_released(patterns @ fit.coef_.T + fit.intercept_, mean, std, feature)
    np.testing.assert_allclose(made[1:], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(made[0], mean)
    is_empty = np.array([not mask.any() for mask in some_empty.values()])
    if feature != "vdvae":
        np.testing.assert_allclose(made[1:][is_empty], np.tile(mean, (is_empty.sum(), 1)))
    elif is_empty.any():  # without these rows the others are different images
        fewer = released(fit.coef_, features.mean(0), [mask for mask in some_empty.values() if mask.any()], **more)
        assert np.sqrt(np.mean((made[1:][~is_empty] - fewer) ** 2) / np.mean(fewer**2)) > 0.01


@pytest.mark.parametrize("feature", ["vdvae", "clip_text", "clip_vision"])
def test_the_published_programs_file(toy_ridge, masks, feature):
    """From betas and floc-faces to the file: V4 is empty, V1 to V3 are parts of the face areas."""
    _, features, kernel, fit, folder = toy_ridge
    labels = np.resize([0, 1, 2, 3, 4, 5, -1], N_VOXELS)
    with h5py.File(folder / "rois.h5", "w") as file:
        file["floc-faces/labels"] = labels.astype(np.int16)
    masks |= {name: masks["most"] for name in ("V2", "V3", "V4")}
    listed = ["faces", "V1", "V2", "V3", "V4", "most"]
    options = {"labels": folder / "rois.h5", "feature": feature, "is_released": True, "scale": 1.0, "seed": 0}
    options |= {"alpha": ALPHA, "memory_gib": 1.0}
    paths = (
        folder / "out.h5",
        ridge.Kernel(*(None if field is None else field.copy() for field in kernel)),
        folder / "betas.h5",
    )
    hdf5.save(paths[2], toy_ridge[0].values, toy_ridge[0].nsd_id)
    optimal_patterns.optimal_features(*paths, folder / "train.h5", masks, names=listed, **options)
    names, made = optimal_patterns.load(folder / "out.h5")
    assert names == ["rest", *listed]
    of_labels = [np.isin(labels, numbers) for numbers in ((1, 2), (3, 4), (5, 6), (7,))]
    more = {"vdvae": {"train_latents": features}, "clip_text": {"norm": 9.0}, "clip_vision": {"norm": 15.0}}[feature]
    expected = released(fit.coef_, features.mean(0), [masks["faces"], *of_labels, masks["most"]], **more)
    flat = made.values.reshape(len(names), -1)
    np.testing.assert_allclose(flat[1:], expected, rtol=1e-3, atol=1e-3)
    if feature != "vdvae":
        np.testing.assert_array_equal(flat[5], features.mean(0).astype(np.float32))


def test_equal_rows_of_a_product_that_differ_in_the_last_bit_are_no_response(toy_ridge, masks, monkeypatch):
    """The length of a difference that is only rounding would be made 1."""
    folder, decode = toy_ridge[4], optimal_patterns.decode
    with h5py.File(folder / "rois.h5", "w") as file:
        file["floc-faces/labels"] = np.resize([1, 3], N_VOXELS).astype(np.int16)
    hdf5.save(folder / "betas.h5", toy_ridge[0].values, toy_ridge[0].nsd_id)

    def rounded(*arguments, **options):
        values = decode(*arguments, **options)
        values[3] = np.nextafter(values[3], np.float32(9))
        return values

    monkeypatch.setattr(optimal_patterns, "decode", rounded)
    options = {"labels": folder / "rois.h5", "feature": "clip_text", "is_released": True, "scale": 1.0, "seed": 0}
    options |= {"alpha": ALPHA, "memory_gib": 1.0, "names": ["faces", "V1", "V4"]}
    paths = folder / "out.h5", toy_ridge[2], folder / "betas.h5", folder / "train.h5"
    optimal_patterns.optimal_features(*paths, masks | {"V4": masks["V1"]}, **options)
    made = optimal_patterns.load(folder / "out.h5")[1].values
    np.testing.assert_array_equal(made[3], made[0])


@pytest.mark.parametrize("listed", [["V4"], ["faces"], ["V3", "V4"], ["most", "most"]])
def test_one_region_has_no_z_score_over_regions(toy_ridge, masks, listed):
    folder = toy_ridge[4]
    with h5py.File(folder / "rois.h5", "w") as file:
        file["floc-faces/labels"] = np.zeros(N_VOXELS, np.int16)
    masks |= {"V3": masks["V1"], "V4": masks["V1"]}
    options = {"labels": folder / "rois.h5", "feature": "vdvae", "is_released": True, "scale": 1.0, "seed": 0}
    with pytest.raises(ValueError, match=r"no two of them \(.*\) have different voxels; name two that differ"):
        optimal_patterns.optimal_features(
            *(folder / "out.h5", toy_ridge[2], folder / "betas.h5", folder / "train.h5", masks),
            **options | {"alpha": ALPHA, "memory_gib": 1.0, "names": listed},
        )
    assert not (folder / "out.h5").exists()


def test_a_latent_that_no_region_changes_stays_at_its_mean():
    predicted, mean, std = np.array([[1.0, 5], [2, 5], [4, 5]]), np.array([1.0, 5]), np.array([1.0, 0])
    made = optimal_patterns.as_released(predicted, mean, std, "vdvae")
    assert np.isfinite(made).all()
    np.testing.assert_allclose(np.linalg.norm(made[1:], axis=1), 80)


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
    assert not found["V4"].any()
    assert list(found) == [*masks, "V4", "V3"]
    assert "V4 has no voxel in the published program; its image is that of no response" in caplog.text


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
    with pytest.raises(ValueError, match=r"out\.h5: the features of pattern faces are not finite;"):
        optimal_patterns.save(tmp_path / "out.h5", features, ["rest", "faces", "V1"], np.zeros(3, np.int32))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_training_features_that_are_not_finite_are_refused(toy_ridge, bad):
    path = toy_ridge[-1] / "train.h5"
    with h5py.File(path, "r+") as file:
        file["values"][7, 3] = bad
    with pytest.raises(ValueError, match=rf"train\.h5, nsd_id 7: {bad} in the file; .* Rerun its job"):
        optimal_patterns.column_statistics(path)
