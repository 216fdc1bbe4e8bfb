"""The closed-form bottleneck against the primal solution, the ridge, stored predictions, and a brain of known rank."""

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.decoding import bottleneck, kernel_spectrum, ridge
from brain_diffuser.evaluation import bottleneck_curve, linear_maps, statistics

ALPHA, N_TEST = 20.0, 9
COLUMNS = {"vdvae": 50, "clip_text": 33}


class Lab:
    """Betas, features that depend on them, and their files."""

    def __init__(self, folder, n_train, n_voxels, seed=0):
        rng = np.random.default_rng(seed)
        n = n_train + N_TEST
        betas, ids = rng.normal(1, 2, (n, n_voxels)).astype(np.float32), rng.permutation(n).astype(np.int32)
        self.train, self.test = (
            hdf5.StimulusArray(betas[part], ids[part]) for part in (slice(n_train), slice(n_train, n))
        )
        self.features, self.paths = {}, {}
        for name, columns in COLUMNS.items():
            values = betas @ rng.normal(size=(n_voxels, columns)) + 5 * rng.normal(size=(n, columns)) + 3
            self.features[name] = values[:n_train].astype(np.float32), values[n_train:].astype(np.float32)
            self.paths[name] = tuple(folder / f"{name}_{split}.h5" for split in ("train", "test"))
            for path, part, split in zip(self.paths[name], self.features[name], (self.train, self.test), strict=True):
                hdf5.save(path, part, split.nsd_id, axes=("dim",))

    def kernel(self):
        return ridge.kernel(self.train, self.test)

    def basis(self, most=1000, **changed):
        options = {"weights": "equal", "share": 1.0, "seed": 0} | changed
        train = {name: paths[0] for name, paths in self.paths.items()}
        return bottleneck.make(self.kernel(), train, alpha=ALPHA, most=most, **options)

    def z_scored(self):
        train = self.train.values.astype(float)
        return tuple((split.values - train.mean(0)) / train.std(0, ddof=1) for split in (self.train, self.test))


@pytest.fixture(params=[(40, 60), (80, 30)], ids=["stimulus space", "voxel space"])
def lab(request, tmp_path):
    return Lab(tmp_path, *request.param)


@pytest.mark.parametrize("weights", bottleneck.WEIGHTS)
def test_every_rank_is_the_primal_reduced_rank_ridge_and_all_of_them_the_ridge(lab, weights):
    x, x_test = lab.z_scored()
    targets = []
    for name, (train, _) in lab.features.items():
        y = train - train.mean(0, dtype=float)
        factor = 1 / (y**2).sum() if weights == "equal" else {"vdvae": 1, "clip_text": 2}[name] / y.shape[1]
        targets.append(np.sqrt(factor) * y)
    y, n_voxels = np.hstack(targets), x.shape[1]
    primal = np.linalg.solve(x.T @ x + ALPHA * np.eye(n_voxels), x.T @ y)
    _, _, directions = np.linalg.svd(np.vstack([x, np.sqrt(ALPHA) * np.eye(n_voxels)]) @ primal, full_matrices=False)
    found = lab.basis(weights=weights)
    for rank in (1, 3, 10):
        expected = x_test @ primal @ directions[:rank].T @ directions[:rank]
        made = found.bottleneck_left[:, :rank] @ found.bottleneck_right[:rank] @ y
        np.testing.assert_allclose(made, expected, atol=3e-6 * np.abs(expected).max())
    rows = ridge.rows_of_test(lab.kernel(), ALPHA)
    for whole in (found.bottleneck_left @ found.bottleneck_right, found.pca_left @ found.pca_right, found.ridge):
        np.testing.assert_allclose(whole, rows, atol=1e-6)


def test_components_are_those_of_the_train_betas(lab):
    x, x_test = lab.z_scored()
    _, _, axes = np.linalg.svd(x, full_matrices=False)
    few, few_test = x @ axes[:4].T, x_test @ axes[:4].T
    expected = few_test @ np.linalg.solve(few.T @ few + ALPHA * np.eye(4), few.T)
    found = lab.basis()
    np.testing.assert_allclose(found.pca_left[:, :4] @ found.pca_right[:4], expected, atol=1e-6)


def test_scores_are_those_of_stored_predictions(tmp_path):
    lab = Lab(tmp_path, 40, 60)
    basis = lab.basis()
    sums = linear_maps.sums(
        bottleneck_curve.maps_of(basis), *lab.paths["vdvae"], lab.train.nsd_id, lab.test.nsd_id
    )  # fmt: skip
    train, test = (part.astype(float) for part in lab.features["vdvae"])
    for rank in (2, 7):
        bottleneck.predict(basis, lab.paths["vdvae"][0], tmp_path / "p.h5", rank=rank, rescale=False)
        made = hdf5.load(tmp_path / "p.h5").values - train.mean(0)
        correlation = statistics.correlation_matrix(made, test - train.mean(0))
        own = np.diagonal(correlation)
        found = linear_maps.scores(sums["bottleneck"], basis.bottleneck_left, rank)
        np.testing.assert_allclose(found["correlation"], own, atol=1e-5)
        beaten = (correlation < own[:, None]).sum(1) / (N_TEST - 1)
        np.testing.assert_allclose(found["two_way"], beaten)
    ceiling = linear_maps.scores(linear_maps.of_true(sums["ridge"]))
    np.testing.assert_allclose(ceiling["correlation"], 1)
    assert (ceiling["two_way"] == 1).all()


def test_a_brain_of_k_dimensions_saturates_at_k(tmp_path):
    k, rng = 4, np.random.default_rng(1)
    lab = Lab(tmp_path, 200, 40)
    latent = rng.normal(size=(200 + N_TEST * 10, k))
    betas = (latent @ rng.normal(size=(k, 40)) + 0.2 * rng.normal(size=(len(latent), 40))).astype(np.float32)
    ids = np.arange(len(latent), dtype=np.int32)
    lab.train, lab.test = hdf5.StimulusArray(betas[:200], ids[:200]), hdf5.StimulusArray(betas[200:], ids[200:])
    for name, columns in COLUMNS.items():
        values = latent @ rng.normal(size=(k, columns)) + 0.5 * rng.normal(size=(len(latent), columns))
        for path, part, split in zip(lab.paths[name], (values[:200], values[200:]), (lab.train, lab.test), strict=True):
            hdf5.save(path, part.astype(np.float32), split.nsd_id, axes=("dim",))
    ranks = [1, 2, 3, 4, 5, 8]
    rows, dimensions = bottleneck_curve.score(lab.basis(), lab.paths, ranks, 20, 0)
    for feature in COLUMNS:
        share = {
            (row["curve"], row["rank"]): row["normalised"]
            for row in rows
            if (row["feature"], row["measure"]) == (feature, "correlation")
        }
        curve = [share["bottleneck", rank] for rank in ranks]
        assert (np.diff(curve[:4]) > 0.02).all()
        assert np.ptp(curve[3:]) < 0.005
        assert abs(curve[3] - share["ridge", ""]) < 0.005
        assert share["random", ""] == 0
        assert share["ceiling", ""] == 1
    ratios = {(row["of"], row["feature"]): row["participation_ratio"] for row in dimensions}
    assert ratios["predictions, test stimuli", "vdvae"] < ratios["true, test stimuli", "vdvae"]
    bottleneck_curve.write(tmp_path, rows, dimensions, "TOY", ALPHA)
    assert tables.read_csv(tmp_path / "scores.csv", bottleneck_curve.COLUMNS)
    assert "4 dimensions of the bottleneck (correlation)" in (tmp_path / "scores.md").read_text()


def test_participation_ratio_counts_equal_dimensions():
    assert kernel_spectrum.participation_ratio(np.diag([3.0, 3.0, 3.0, 0.0])) == pytest.approx(3)
    assert kernel_spectrum.participation_ratio(np.diag([5.0, 0.0])) == pytest.approx(1)


def test_noise_and_shares_of_columns_are_seeded_and_change_nothing_else(lab):
    first, again, other = lab.basis(), lab.basis(), lab.basis(seed=1)
    np.testing.assert_array_equal(first.noise, again.noise)
    assert np.abs(first.noise - other.noise).max() > 0.1 * np.abs(first.noise).max()
    np.testing.assert_array_equal(first.ridge, other.ridge)
    half = lab.basis(share=0.5)
    np.testing.assert_array_equal(half.bottleneck_left, lab.basis(share=0.5).bottleneck_left)
    assert not np.allclose(np.abs(half.bottleneck_left[:, 0]), np.abs(first.bottleneck_left[:, 0]))


def test_rescaled_predictions_have_the_std_of_the_targets(lab, tmp_path):
    bottleneck.save(tmp_path / "maps.h5", lab.basis(), ALPHA)
    basis = bottleneck.load(tmp_path / "maps.h5")
    bottleneck.predict(basis, lab.paths["vdvae"][0], tmp_path / "p.h5", rank=3, rescale=True)
    np.testing.assert_allclose(
        hdf5.load(tmp_path / "p.h5").values.std(0), lab.features["vdvae"][0].std(0), rtol=1e-4
    )  # fmt: skip


def test_what_cannot_be_is_refused(lab, tmp_path):
    basis = lab.basis(most=5)
    with pytest.raises(ValueError, match="rank 6 was asked for; expected 1 to 5"):
        bottleneck.predict(basis, lab.paths["vdvae"][0], tmp_path / "p.h5", rank=6, rescale=True)
    with pytest.raises(ValueError, match=r"bottleneck.weights must be one of equal, brainbits, got other"):
        lab.basis(weights="other")
    flat = np.ones((len(lab.train.values), 3), np.float32)
    hdf5.save(tmp_path / "flat.h5", flat, lab.train.nsd_id, axes=("dim",))
    with pytest.raises(ValueError, match="none of flat varies over"):
        bottleneck.target_products({"flat": tmp_path / "flat.h5"}, lab.train.nsd_id, weights="equal")
    some = {"vdvae": lab.paths["vdvae"][0]}
    both = bottleneck.target_products({**some, "flat": tmp_path / "flat.h5"}, lab.train.nsd_id, weights="equal")
    np.testing.assert_array_equal(both, bottleneck.target_products(some, lab.train.nsd_id, weights="equal"))
