"""Lesions: ridges on some voxels are scikit-learn's, lesions are zeros, and a known code is found where it is."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.regions import figures, lesions

N_TRAIN, N_TEST, N_VOXELS, N_COLUMNS, ALPHA = 200, 60, 80, 12, 20.0


@pytest.fixture
def known_code():
    """Voxels 0 to 19 tell whether a face is there, 20 to 39 whether a house is, all others the rest of the features."""
    rng = np.random.default_rng(0)
    n = N_TRAIN + N_TEST
    has_category = {name: rng.random(n) < 0.3 for name in ("face", "house")}
    hidden = rng.normal(size=(n, N_COLUMNS - 2))
    features = np.column_stack([3 * has_category["face"], 3 * has_category["house"], hidden]) @ rng.normal(
        size=(N_COLUMNS,) * 2
    )
    betas = rng.normal(size=(n, N_VOXELS))
    betas[:, :20] += 2 * has_category["face"][:, None]
    betas[:, 20:40] += 2 * has_category["house"][:, None]
    betas[:, 40:] += hidden @ rng.normal(size=(N_COLUMNS - 2, 40))
    ids = np.arange(n, dtype=np.int32)
    splits = slice(0, N_TRAIN), slice(N_TRAIN, n)
    rows = tuple(hdf5.StimulusArray(betas[each].astype(np.float32), ids[each]) for each in splits)
    z_score = rows[0].values.mean(0, dtype=np.float64), rows[0].values.std(0, ddof=1, dtype=np.float64)
    ridges = lesions.SharedRidge.from_arrays(rows, tuple(features[each] for each in splits), z_score, ALPHA)
    place = np.arange(N_VOXELS)
    masks = {"faces": place < 20, "houses": (place >= 20) & (place < 40), "back": place >= 40}
    categories = {name: tuple(each[split] for split in splits) for name, each in has_category.items()}
    return ridges, masks, categories, features, rows, z_score


def test_ridges_on_some_voxels_are_scikit_learns(known_code):
    ridges, masks, _, features, rows, (mean, std) = known_code
    z = (rows[0].values - mean) / std
    for voxels in (masks["faces"], np.ones(N_VOXELS, bool)):
        expected = Ridge(ALPHA * voxels.mean()).fit(z[:, voxels], features[:N_TRAIN]).coef_.T
        np.testing.assert_allclose(ridges.weights(voxels), expected, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(ridges.whole, expected, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(lesions.weight_norms(ridges), np.abs(expected).sum(1), rtol=1e-3)


def test_accuracy_alone_and_without(known_code):
    ridges, masks, _, features, rows, (mean, std) = known_code
    found = {row["region"]: row for row in lesions.decoding(ridges, masks, draws=3, seed=0)}
    z = (rows[1].values - mean) / std
    z[:, masks["faces"]] = 0  # a lesion: the region at its mean
    predicted = z @ ridges.whole
    expected = np.mean([np.corrcoef(predicted[:, i], features[N_TRAIN:, i])[0, 1] for i in range(N_COLUMNS)])
    assert found["faces"]["without"] == pytest.approx(expected, abs=2e-4)
    predicted = (rows[1].values - mean)[:, masks["back"]] / std[masks["back"]] @ ridges.weights(masks["back"])
    expected = np.mean([np.corrcoef(predicted[:, i], features[N_TRAIN:, i])[0, 1] for i in range(N_COLUMNS)])
    assert found["back"]["alone"] == pytest.approx(expected, abs=2e-4)
    assert found["back"]["without"] < found["back"]["without_random_low"]  # the code of all but two columns
    assert found["faces"]["alone"] < found["back"]["alone"]
    (whole,) = lesions.decoding(ridges, {"all": np.ones(N_VOXELS, bool)}, draws=2, seed=0)
    assert (whole["without"], whole["alone_random"]) == ("", "")


def test_a_lesion_hurts_what_the_region_codes_and_random_voxels_do_not(known_code):
    ridges, masks, categories, *_ = known_code
    rows = lesions.lesions(ridges, masks, categories, draws=10, seed=0)
    drops = {(row["category"], row["region"]): row for row in rows}
    assert set(map(tuple, map(dict.keys, rows))) == {lesions.COLUMNS["lesions"]}
    for category, own, other in (("face", "faces", "houses"), ("house", "houses", "faces")):
        assert drops[category, own]["drop"] > 1.5
        assert drops[category, own]["drop"] > 3 * max(drops[category, own]["drop_random_high"], 0.1)
        assert abs(drops[category, other]["drop"]) < 0.4


def test_categories_by_whole_words(caplog):
    captions = {1: ["A clown"], 2: ["two clowns"], 3: ["the face.", "x"], 4: ["Santa Claus smiles"], 5: ["houses"]}
    assert lesions.mentions(captions, ["clown", "Face", "Santa"]) == {1: True, 2: False, 3: True, 4: True, 5: False}
    ids = np.array([1, 2, 3, 4, 5])
    words = {"face": ["clown", "face", "Santa"], "house": ["houses"]}
    found = lesions.find_categories(captions, words, ids, ids[:4][::-1])
    assert not found
    assert "category house: fewer than 2 stimuli have it, or lack it; left out" in caplog.text
    found = lesions.find_categories(captions, words, ids, ids)
    assert found["face"][0].tolist() == [True, False, True, True, False]


def test_percentiles():
    assert lesions.percentiles(np.array([3.0, 1, 2, 2])).tolist() == [100, 25, 75, 75]


def test_columns_are_spread_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(lesions.optimal_patterns, "BLOCK_COLUMNS", 7)
    values = np.arange(3 * 50).reshape(3, 50).astype(np.float32)
    hdf5.save(tmp_path / "f.h5", values.reshape(3, 5, 10), np.arange(3))
    assert lesions.read_columns(tmp_path / "f.h5", 6)[0].tolist() == [0, 10, 20, 29, 39, 49]
    np.testing.assert_array_equal(lesions.read_columns(tmp_path / "f.h5", 99), values)


def test_columns_that_do_not_vary_are_left_out_of_accuracy(known_code):
    ridges, masks, categories, *_ = known_code
    predicted = ridges.test @ ridges.whole
    constant = ridges.test_features.copy()
    constant[:, [2, 5]] = 0.3
    varies = np.setdiff1d(np.arange(N_COLUMNS), [2, 5])
    expected = np.mean([np.corrcoef(predicted[:, i], constant[:, i])[0, 1] for i in varies])
    assert ridges._replace(test_features=constant).accuracy(predicted) == pytest.approx(expected, abs=1e-6)
    nothing = ridges._replace(test_features=np.full_like(constant, 0.3), whole=np.zeros_like(ridges.whole))
    assert np.isnan(nothing.accuracy(predicted))
    row = lesions.decoding(nothing, {"faces": masks["faces"]}, draws=2, seed=0)[0]
    assert np.isnan([row["alone"], row["without"], row["alone_random"]]).all()
    (row, *_) = lesions.lesions(nothing, masks, categories, draws=2, seed=0)
    assert np.isnan([row["intact"], row["drop"]]).all()


def test_tables_of_what_was_not_measured_are_empty_and_drawn(tmp_path):
    row = {"feature": "clip_text", "category": "face", "stimuli": 3, "region": "V1", "voxels": 9, "intact": np.nan}
    row |= {f"drop{word}": np.nan for word in lesions.CONTROLLED}
    del row["feature"]
    lesions.write(tmp_path, np.ones(3), {"lesions": [row], "decoding": []})
    (read,) = tables.read_csv(tmp_path / "lesions.csv")
    assert read["intact"] == read["drop"] == ""
    assert "svg" in figures.plot_lesions([{"feature": "clip_text"} | read])


@pytest.mark.parametrize(("split", "where"), [(0, "betas"), (1, "betas"), (0, "feature"), (1, "feature")])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_what_is_not_finite_is_no_accuracy_of_0(known_code, split, where, bad):
    _, _, _, features, rows, z_score = known_code
    betas = [hdf5.StimulusArray(each.values.astype(np.float64), each.nsd_id) for each in rows]
    of_features = [features[:N_TRAIN].copy(), features[N_TRAIN:].copy()]
    (betas[split].values if where == "betas" else of_features[split])[7, 3] = bad
    ends = r" \(float32\)" if bad == 1e39 else ";"
    named = rf"nsd_id {betas[split].nsd_id[7]}" if (where, split, bad) != ("feature", 0, 1e39) else "nsd_id .*"
    with pytest.raises(ValueError, match=rf"lesions, {named}: (nan|-?inf) in the .*{where}{ends}"):
        lesions.SharedRidge.from_arrays(tuple(betas), tuple(of_features), z_score, ALPHA)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "weight_norms.npy is missing; expected the weight norms of voxels. Rerun its job: .*lesions"),
        (b"", "weight_norms.npy cannot be read as an array"),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4',", "weight_norms.npy cannot be read as an array"),
        (b"PK\x03\x04" + bytes(40), "weight_norms.npy cannot be read as an array"),
        (np.array([1.0, np.nan]), r"weight_norms.npy has float64 \(2,\); expected a finite number for each voxel"),
        (np.ones((2, 2)), r"weight_norms.npy has float64 \(2, 2\); expected"),
        (np.array(["a"]), r"weight_norms.npy has <U1 \(1,\); expected"),
    ],
)
def test_damaged_norms_are_named(tmp_path, content, sentence):
    (tmp_path / "lesions").mkdir()
    path = tmp_path / "lesions/weight_norms.npy"
    lesions.write(path.parent, np.arange(3.0), {})
    np.testing.assert_array_equal(lesions.read_norms(path), np.arange(3.0))
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        lesions.read_norms(path)
