"""Generalisation: identification under several splits, and what only classifies at chance on held-out clusters."""

import itertools

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.data import stimulus_table
from brain_diffuser.data.stimulus_table import Stimuli
from brain_diffuser.evaluation import generalisation, same_stimuli

N, N_VOXELS, N_CLUSTERS = 240, 400, 4


def saved(path, values, ids):
    hdf5.save(path, values.astype(np.float32), np.asarray(ids, np.int32), axes=("dim",))
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Stimuli in four clusters, a linear brain with noise, and the artifacts of two splits of ridge's predictions."""
    folder, rng = tmp_path_factory.mktemp("lab"), np.random.default_rng(0)
    cluster = rng.integers(0, N_CLUSTERS, N)
    # Clusters lie along few directions, and stimuli of all clusters differ along the same others.
    true = 2 * rng.standard_normal((N_CLUSTERS, 30))[cluster] + rng.standard_normal((N, 12)) @ rng.standard_normal(
        (12, 30)
    )
    betas = true @ rng.standard_normal((30, N_VOXELS)) + 12 * rng.standard_normal((N, N_VOXELS))
    ids = np.arange(N, dtype=np.int32)
    rng.shuffle(ids)
    paths = [
        saved(folder / f"{name}.h5", true[part], ids[part]) for name, part in (("a", slice(150)), ("b", slice(150, N)))
    ]
    held = {
        "default": np.arange(N) % N_CLUSTERS == 0,
        **{f"cluster_{each}": cluster == each for each in range(N_CLUSTERS)},
    }
    scored = []
    for name, test in held.items():
        x, y = betas[~test], true[~test]
        mean_x, mean_y = x.mean(0), y.mean(0)
        kernel = (x - mean_x) @ (x - mean_x).T
        solution = np.linalg.solve(kernel + 1e4 * np.eye(len(x)), y - mean_y)
        predicted = (betas[test] - mean_x) @ (x - mean_x).T @ solution + mean_y
        table = folder / f"{name}.tsv"
        of = {split: np.flatnonzero(rows) for split, rows in (("train", ~test), ("test", test))}
        stimuli = {split: Stimuli(ids[rows], tuple(np.array([row]) for row in rows)) for split, rows in of.items()}
        stimulus_table.write(table, stimuli)
        made = saved(folder / f"{name}.h5", predicted, ids[test])
        of_split = generalisation.Split(name, table, {"f": made})
        scored.append(generalisation.score(of_split, {"f": paths}, true, cluster))
    return paths, true, ids, cluster, scored


def mean(of, decoder, candidates):
    return of.two_way["f", decoder, candidates].mean()


def test_what_only_classifies_falls_to_chance_on_held_out_clusters_and_a_linear_decoder_does_not(lab):
    *_, (default, *held_out) = lab
    of_clusters = {
        measure: np.concatenate([each.two_way["f", *measure] for each in held_out])
        for measure in itertools.product(generalisation.DECODERS, generalisation.CANDIDATES)
    }
    assert mean(default, "ridge", "all stimuli") > 0.9
    assert mean(default, "classifier", "all stimuli") > 0.8
    assert of_clusters["ridge", "all stimuli"].mean() > 0.9
    assert of_clusters["ridge", "own cluster"].mean() > 0.9
    assert of_clusters["classifier", "all stimuli"].mean() < 0.6
    assert of_clusters["classifier", "own cluster"].mean() < 0.75  # which other cluster they resemble says a little


def test_a_classifier_is_at_chance_within_clusters():
    """So is one that gives another cluster's mean, as where its own is held out."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 4, 400)
    true = 3 * rng.standard_normal((4, 50))[cluster] + rng.standard_normal((400, 50))
    means = np.stack([true[cluster == each].mean(0) for each in range(4)])
    for shift in (0, 1):  # its own cluster's mean, and that of another, as where its own is held out
        correlation = np.corrcoef(means[(cluster + shift) % 4], true)[:400, 400:]
        within = generalisation.identified(correlation, np.arange(400), cluster)
        assert abs(within.mean() - 0.5) < 1e-9
    among_all = generalisation.identified(np.corrcoef(means[cluster], true)[:400, 400:], np.arange(400), 0 * cluster)
    assert among_all.mean() > 0.85


def test_correlations_are_those_of_numpy_whatever_the_blocks(lab, tmp_path, monkeypatch):
    paths, true, ids, *_ = lab
    values = np.random.default_rng(1).standard_normal((3, true.shape[1]))
    members = np.zeros((2, N))
    members[0, :20], members[1, 7] = 0.05, 1
    predicted = saved(tmp_path / "p.h5", values, ids[:3])
    rows = np.concatenate([values, members @ true]).astype(np.float32)
    expected = np.corrcoef(rows, true.astype(np.float32))[:5, 5:]
    for block in (4096, 7):
        monkeypatch.setattr(generalisation, "BLOCK_COLUMNS", block)
        found = generalisation.correlations(predicted, paths, ids[:3], members)
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)
    with pytest.raises(ValueError, match="nsd_id"):
        generalisation.correlations(predicted, paths, ids[1:4], members)


def test_a_row_that_does_not_vary_has_no_correlation(tmp_path):
    values = np.random.default_rng(0).standard_normal((4, 9)) + 300
    values[1] = 1 / 3
    path = saved(tmp_path / "f.h5", values, range(4))
    found, _ = generalisation.correlations(path, [path], np.arange(4, dtype=np.int32), np.eye(4)[:1])
    constant = np.arange(4) == 1
    assert (np.isnan(found) == (constant | constant[:, None])).all()
    shares = generalisation.identified(found, np.arange(4), np.zeros(4, int))
    assert shares[[0, 2, 3]].tolist() == [1, 1, 1]
    assert np.isnan(shares[1])


def test_identification_is_the_slow_count():
    rng = np.random.default_rng(0)
    correlation, own, group = rng.standard_normal((5, 9)).round(1), np.array([8, 1, 4, 0, 2]), rng.integers(0, 2, 9)
    found = generalisation.identified(correlation, own, group)
    for row in range(5):
        others = [each for each in range(9) if each != own[row] and group[each] == group[own[row]]]
        expected = np.mean([correlation[row, each] < correlation[row, own[row]] for each in others])
        assert found[row] == pytest.approx(expected)


def test_tables_and_plots(lab, tmp_path):
    *_, scored = lab
    sources = {number: "A" if number % 2 else "B" for number in range(N)}
    rows = generalisation.summarise(scored, sources, 50, 0)
    generalisation.write(tmp_path, scored, rows, sources, "TEST, sub01")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("scores.csv", "scores.md", "per_stimulus.csv", "by_split.svg", "by_distance.svg")
    }
    per_stimulus = tables.read_csv(tmp_path / "per_stimulus.csv")
    table = tables.read_csv(tmp_path / "scores.csv")
    assert len(per_stimulus) == sum(len(each.nsd_id) for each in scored)
    for of in ("all", "source A", "source B"):
        (row,) = [
            row
            for row in table
            if (row["split"], row["of"], row["feature"], row["decoder"]) == ("default", of, "f", "ridge")
            and row["candidates"] == "all stimuli"
        ]
        values = [
            float(each["f, ridge, all stimuli"])
            for each in per_stimulus
            if each["split"] == "default" and (of == "all" or of == f"source {each['source']}")
        ]
        assert int(row["n"]) == len(values)
        assert float(row["mean"]) == pytest.approx(np.mean(values), abs=1e-4)
    for each in scored:  # the bins of distance hold every test stimulus once
        bins = generalisation.edges([each.distance for each in scored])
        assert (sum(inside.astype(int) for _, _, inside in generalisation.by_distance(each, bins)) == 1).all()
    assert "| cluster_3 |" in (tmp_path / "scores.md").read_text()


def test_the_same_stimuli_under_two_splits(lab):
    """A held-out cluster is compared with itself under the split that has it in training."""
    *_, scored = lab
    rows = [dict(zip(same_stimuli.COLUMNS, row, strict=True)) for row in same_stimuli.compare(scored, 200, 0)]
    default, others = scored[0], {each.name: each for each in scored[1:]}
    assert {row["split"] for row in rows} == {
        name for name, each in others.items() if len(set(each.nsd_id.tolist()) & set(default.nsd_id.tolist())) > 1
    }
    for row in rows:
        measure = row["feature"], row["decoder"], row["candidates"]
        here, there = (
            dict(zip(each.nsd_id.tolist(), each.two_way[measure].tolist(), strict=True))
            for each in (others[row["split"]], default)
        )
        both = [(here[number], there[number]) for number in sorted(here.keys() & there.keys())]
        assert row["n"] == len(both)
        assert row["mean"] == pytest.approx(np.mean([a for a, _ in both]), abs=1e-4)
        assert row["difference"] == pytest.approx(np.mean([a - b for a, b in both]), abs=1e-4)
        assert row["low"] <= row["difference"] <= row["high"]
    among_all = [row for row in rows if row["candidates"] == "all stimuli" and row["split"].startswith("cluster")]
    assert all(row["difference"] < 0 for row in among_all if row["decoder"] == "classifier")
    assert "| f | cluster_" in same_stimuli.markdown([tuple(row.values()) for row in rows])
    assert same_stimuli.markdown([]) == ""


def test_the_nearest_training_stimulus_is_one(lab):
    _paths, true, ids, _, (default, *_) = lab
    training = set(ids.tolist()) - set(default.nsd_id.tolist())
    assert set(default.nearest.tolist()) <= training
    rows = {number: row for row, number in enumerate(ids.tolist())}
    for number, nearest, distance in zip(default.nsd_id, default.nearest, default.distance, strict=True):
        correlation = np.corrcoef(true[rows[int(number)]], true[rows[int(nearest)]])[0, 1]
        assert 1 - distance == pytest.approx(correlation)
