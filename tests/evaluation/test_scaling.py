"""Scaling curves: blocks of one kernel against refits, tables with fewer trials, and fits of known slope."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.data.stimulus_table import Stimuli
from brain_diffuser.decoding import kernel_spectrum, ridge
from brain_diffuser.evaluation import scaling, scaling_curves, statistics

N_TEST = 12


class Lab:
    def __init__(self, n_train, n_voxels, seed=0):
        rng = np.random.default_rng(seed)
        n = n_train + N_TEST
        latent = rng.normal(size=(n, 5))
        betas = (latent @ rng.normal(size=(5, n_voxels)) + 3 * rng.normal(size=(n, n_voxels)) + 1).astype(np.float32)
        ids = rng.permutation(n).astype(np.int32)
        self.train, self.test = (
            hdf5.StimulusArray(betas[part], ids[part]) for part in (slice(n_train), slice(n_train, n))
        )
        values = latent @ rng.normal(size=(5, 30)) + rng.normal(size=(n, 30)) + 7
        mean = values[:n_train].mean(0)
        self.targets = scaling.Targets(values[:n_train] - mean, values[n_train:] - mean)
        trials = tuple(np.array([row, n + row, 2 * n + row]) for row in range(n))
        self.table = {
            split: Stimuli(ids[part], trials[part])
            for split, part in (("train", slice(n_train)), ("test", slice(n_train, n)))
        }


@pytest.fixture(params=[(40, 60), (90, 30)], ids=["stimulus space", "voxel space"])
def lab(request):
    return Lab(*request.param)


def test_a_block_of_the_kernel_is_a_refit_of_its_stimuli(lab):
    train, test = (split.values.astype(float) for split in (lab.train, lab.test))
    z, z_test = ((part - train.mean(0)) / train.std(0, ddof=1) for part in (train, test))
    whole = ridge.kernel(lab.train, lab.test)
    rows = np.sort(np.random.default_rng(3).permutation(len(train))[: len(train) // 2])
    part = scaling.block(whole, rows)
    np.testing.assert_array_equal(part.train_id, lab.train.nsd_id[rows])
    spectrum, y = kernel_spectrum.of_kernel(part), lab.targets.train[rows]
    shrunk = np.sqrt(spectrum.values) / (spectrum.values + 25.0)
    made = (spectrum.test * shrunk) @ (spectrum.train.T @ (y - y.mean(0))) + y.mean(0)
    np.testing.assert_allclose(made, Ridge(25.0).fit(z[rows], y).predict(z_test), atol=1e-6)


def test_scores_are_those_of_a_refit_with_the_chosen_penalty(lab):
    given = scaling.conditions(
        (lab.train, lab.test), lab.table, stimuli=[0.5], voxels=[0.5], draws=2, seed=0, precision="float64"
    )
    scored = [scaling.score(*each, {"f": lab.targets}, lab.train.nsd_id, np.array([1.0, 100.0])) for each in given]
    n, n_voxels = lab.train.values.shape
    found = [(each.condition.axis, each.condition.stimuli, each.condition.voxels) for each in scored]
    assert found == [
        *[("stimuli", n // 2, n_voxels)] * 2,
        ("all", n, n_voxels),
        *[("voxels", n, n_voxels // 2)] * 2,
    ]
    train, test = (split.values.astype(float) for split in (lab.train, lab.test))
    z, z_test = ((part - train.mean(0)) / train.std(0, ddof=1) for part in (train, test))
    made = Ridge(scored[2].alpha["f"]).fit(z, lab.targets.train).predict(z_test)
    correlation = statistics.correlation_matrix(made, lab.targets.test)
    own = np.diagonal(correlation)
    np.testing.assert_allclose(scored[2].scores["f"]["correlation"], own, atol=1e-6)
    np.testing.assert_allclose(scored[2].scores["f"]["two_way"], (correlation < own[:, None]).sum(1) / (N_TEST - 1))
    assert not np.allclose(*(each.scores["f"]["correlation"] for each in scored[:2]))


def test_subsets_of_a_draw_are_nested():
    found = list(scaling.nested(40, [0.1, 0.5], 2, 0))
    assert [(draw, len(rows)) for draw, rows in found] == [(0, 4), (0, 20), (1, 4), (1, 20)]
    for few, many in (found[:2], found[2:]):
        assert set(few[1].tolist()) < set(many[1].tolist())
    assert set(found[0][1].tolist()) != set(found[2][1].tolist())


def test_fewer_trials_keep_the_first_ones_and_all_of_the_test():
    train = Stimuli(np.array([5, 6, 7], np.int32), (np.array([0, 4, 8]), np.array([1, 2]), np.array([7, 9])))
    table = {"train": train, "test": Stimuli(np.array([9, 8], np.int32), (np.array([3, 6]), np.array([5])))}
    once = scaling.restricted(table, "repeats", 1.0)
    assert [trials.tolist() for trials in once["train"].trials] == [[0], [1], [7]]
    half = scaling.restricted(table, "sessions", 0.5)
    assert half["train"].nsd_id.tolist() == [5, 6]
    assert [trials.tolist() for trials in half["train"].trials] == [[0, 4], [1, 2]]
    assert half["test"] is table["test"]
    with pytest.raises(ValueError, match=r"scaling.sessions has 0.1, which leaves 1 train stimulus"):
        scaling.restricted(table, "sessions", 0.1)


def test_fit_finds_a_known_slope_and_its_interval_covers_it():
    rng, amounts = np.random.default_rng(0), np.array([10.0, 20.0, 80.0])
    exact = 0.3 + 0.05 * np.log2(amounts)[:, None] + np.zeros((3, 50))
    slope, low, high, r2 = scaling_curves.fit(amounts, exact, 50, 0)
    np.testing.assert_allclose((slope, low, high, r2), (0.05, 0.05, 0.05, 1))
    covered = 0
    for seed in range(60):
        noisy = exact + 0.1 * rng.normal(size=(3, 50))
        _, low, high, _ = scaling_curves.fit(amounts, noisy, 200, seed)
        covered += low < 0.05 < high
    assert 50 <= covered <= 60


def test_tables_and_curves_show_more_data_as_better(tmp_path):
    lab = Lab(200, 40)
    given = scaling.conditions(
        (lab.train, lab.test), lab.table, stimuli=[0.05, 0.2], voxels=[0.1], draws=2, seed=0, precision="float64"
    )
    fewer = scaling.from_trials(
        "repeats", (lab.train, lab.test), scaling.restricted(lab.table, "repeats", 1.0), "float64"
    )
    alphas = np.geomspace(1, 1e4, 5)
    scored = [scaling.score(*each, {"f": lab.targets}, lab.train.nsd_id, alphas) for each in (*given, fewer)]
    scaling_curves.write(tmp_path, scored, 50, 0, "TOY")
    slopes = {
        (row["axis"], row["measure"]): row for row in tables.read_csv(tmp_path / "slopes.csv", scaling_curves.SLOPES)
    }
    assert float(slopes["stimuli", "correlation"]["low"]) > 0
    assert float(slopes["voxels", "correlation"]["per_doubling"]) > 0
    assert slopes["stimuli", "correlation"]["amounts"] == "3"
    rows = tables.read_csv(tmp_path / "scores.csv", scaling_curves.COLUMNS)
    assert {(row["axis"], row["amount"]) for row in rows} == {
        *{("stimuli", "10"), ("stimuli", "40"), ("all", "200"), ("voxels", "4"), ("repeats", "1.0")}
    }
    assert "| training stimuli | f: correlation" in (tmp_path / "scores.md").read_text()
    assert (tmp_path / "curves.svg").read_text().count("</svg>") == 1
