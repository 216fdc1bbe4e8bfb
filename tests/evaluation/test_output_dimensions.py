"""Dimensions of decoded features: against dense algebra, and random inputs against their covariance in closed form."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge
from brain_diffuser.evaluation import output_dimensions as dimensions

N_TRAIN, N_TEST, N_COLUMNS = 40, 15, 90


def saved(path, values, ids):
    hdf5.save(path, np.asarray(values, np.float32), np.asarray(ids, np.int32), axes=("dim",))
    return path


@pytest.fixture
def files(tmp_path):
    """Features with unequal scales; the last column does not vary in training."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((30, N_COLUMNS)) * np.geomspace(1, 50, N_COLUMNS)
    values = {
        name: 7 + rng.standard_normal((n, 30)) @ mixing + rng.standard_normal((n, N_COLUMNS))
        for name, n in (("train", N_TRAIN), ("true", N_TEST), ("decoded", N_TEST))
    }
    values["train"][:, -1] = 3
    ids = {"train": range(100, 140), "true": range(15), "decoded": range(15)}
    return {name: saved(tmp_path / f"{name}.h5", each, ids[name]) for name, each in values.items()}, values


def standardised(values):
    single = {name: each.astype(np.float32).astype(float)[:, :-1] for name, each in values.items()}
    mean, std = single["train"].mean(0), single["train"].std(0)
    return {name: (each - mean) / std for name, each in single.items()}


def numbers(rows, measure):
    return {row[0]: float(row[3]) for row in rows if row[1] == measure}


@pytest.mark.parametrize("block", [4096, 13])
def test_numbers_are_those_of_dense_algebra(files, monkeypatch, block):
    monkeypatch.setattr(dimensions, "BLOCK_COLUMNS", block)
    paths, values = files
    dense = standardised(values)
    found = dimensions.products(paths["train"], {name: paths[name] for name in ("true", "decoded")})
    rows = dimensions.summarise(found)
    components = PCA(N_TRAIN - 1).fit(dense["train"]).components_
    for name in ("true", "decoded"):
        centred = dense[name] - dense[name].mean(0)
        eigenvalues = np.linalg.eigvalsh(centred @ centred.T)
        expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
        assert numbers(rows, "participation_ratio")[name] == pytest.approx(expected, rel=1e-3)
        shares = np.cumsum(((centred @ components.T) ** 2).sum(0)) / (centred**2).sum()
        of = {row[2]: float(row[3]) for row in rows if row[:2] == (name, "share_inside")}
        assert set(of) == {1, 2, 5, 10, 20, N_TRAIN - 1}
        for k, share in of.items():
            assert share == pytest.approx(shares[k - 1], abs=2e-4)
    projection = dense["true"] @ np.linalg.pinv(dense["train"]) @ dense["train"]
    expected = 1 - ((dense["true"] - projection) ** 2).sum() / (dense["true"] ** 2).sum()
    assert numbers(rows, "expressible")["true"] == pytest.approx(expected, abs=2e-3)


def test_participation_ratio_in_closed_form():
    assert dimensions.participation_ratio(np.eye(8)) == pytest.approx(7)
    along = np.outer(np.arange(5.0), np.arange(5.0))
    assert dimensions.participation_ratio(along) == pytest.approx(1)
    assert dimensions.participation_ratio(np.ones((5, 5))) == 0


@pytest.mark.parametrize("n_voxels", [60, 12])  # in stimulus space and in voxel space
def test_random_inputs_have_the_covariance_of_random_betas(n_voxels):
    rng = np.random.default_rng(0)
    betas = rng.standard_normal((30, n_voxels))
    train = hdf5.StimulusArray(betas, np.arange(30, dtype=np.int32))
    kernel = ridge.kernel(train, hdf5.StimulusArray(betas[:3], np.arange(3, dtype=np.int32)))
    assert (kernel.gram is not None) == (n_voxels == 12)
    found = dimensions.random_outputs(kernel, 20.0, 20000, 0)
    z = (betas - betas.mean(0)) / betas.std(0, ddof=1)
    product = z @ z.T
    solved = np.linalg.solve(product + 20 * np.eye(30), product)
    expected = solved @ np.linalg.inv(product + 20 * np.eye(30))
    np.testing.assert_allclose(found.T @ found / len(found), expected, atol=0.05 * np.abs(expected).max())


def test_all_of_a_feature_with_and_without_random_inputs(files, tmp_path, monkeypatch):
    paths, _ = files
    rng = np.random.default_rng(1)
    train, test = (
        hdf5.StimulusArray(rng.standard_normal((n, 50)), np.arange(first, first + n, dtype=np.int32))
        for n, first in ((N_TRAIN, 100), (N_TEST, 0))
    )
    kernel = ridge.kernel(train, test)
    ridge.save_kernel(tmp_path / "kernel.h5", kernel)
    ridge.predict(kernel, paths["train"], tmp_path / "predicted.h5", alpha=10.0, rescale="none")
    of = (paths["train"], paths["true"], tmp_path / "predicted.h5", tmp_path / "kernel.h5", 0)
    rows = dimensions.measure(*of)
    shares = {(row[0], row[2]): float(row[3]) for row in rows if row[1] == "share_inside"}
    assert shares["random inputs", N_TRAIN - 1] == pytest.approx(1, abs=1e-3)  # outputs are sums of training targets
    assert shares["decoded", N_TRAIN - 1] == pytest.approx(1, abs=1e-3)
    assert numbers(rows, "stimuli") == {
        "training targets": N_TRAIN,
        **dict.fromkeys(("true", "decoded", "random inputs"), 15),
    }
    monkeypatch.setattr(dimensions, "MOST_TRAINING", 25)
    sampled = dimensions.measure(*of)
    assert numbers(sampled, "stimuli") == {"training targets": 25, "true": 15, "decoded": 15}
    assert numbers(sampled, "expressible")["true"] < numbers(rows, "expressible")["true"]
    with pytest.raises(ValueError, match="nsd_id"):
        dimensions.measure(paths["train"], paths["true"], paths["train"], of[3], 0)


def test_a_feature_that_does_not_vary_has_no_dimensions(tmp_path):
    paths = [saved(tmp_path / f"{n}.h5", np.ones((n, 4)), range(n)) for n in (6, 3)]
    found = dimensions.products(paths[0], {"true": paths[1], "decoded": paths[1]})
    rows = dimensions.summarise(found)
    assert not [row for row in rows if row[1] == "share_inside"]
    assert numbers(rows, "participation_ratio") == {"training targets": 0, "true": 0, "decoded": 0}
