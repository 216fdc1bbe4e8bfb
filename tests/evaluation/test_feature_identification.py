"""Identification of decoded features: ranks, both directions, chance, and tables."""

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.evaluation import feature_identification as identification
from brain_diffuser.evaluation.similarity import Similarity

BOTH = (identification.FORWARD, identification.BACKWARD)


def similar(decoded, true_test, true_train):
    """Correlations as a file of them has them."""
    n, everyone = len(decoded), np.concatenate([true_test, true_train])
    found = [np.corrcoef(of, everyone)[:n, n:].astype(np.float32) for of in (decoded, true_test)]
    return Similarity(*found, np.arange(n, dtype=np.int32), np.arange(n, len(everyone), dtype=np.int32))


def test_ranks_are_the_slow_count():
    rng = np.random.default_rng(0)
    correlation = rng.standard_normal((6, 9)).round(1).astype(np.float32)
    correlation[3, 4] = correlation[5, 2] = np.nan
    own, group = np.array([8, 1, 4, 0, 2, 2]), rng.integers(0, 2, 9)
    for groups in (None, group):
        found = identification.search(correlation, own, groups)
        for row, place in enumerate(own):
            others = [
                each
                for each in range(9)
                if each != place
                and not np.isnan(correlation[row, each])
                and (groups is None or groups[each] == groups[place])
            ]
            at_least = sum(bool(correlation[row, each] >= correlation[row, place]) for each in others)
            assert found.others[row] == len(others)
            if np.isnan(correlation[row, place]):
                assert np.isnan([found.nearer[row], found.two_way[row], found.top(1)[row]]).all()
            else:
                assert found.nearer[row] == at_least
                assert found.top(3)[row] == (at_least < 3)
                if others:
                    assert found.two_way[row] == pytest.approx(1 - at_least / len(others))


def test_a_tie_counts_against():
    found = identification.search(np.ones((2, 3), np.float32), np.array([0, 1]))
    assert found.two_way.tolist() == [0, 0]
    assert found.top(1).tolist() == [0, 0]


def test_random_features_are_at_the_chance_that_the_table_states():
    """300 stimuli: a share of hits lies within four standard errors of chance, in every search."""
    rng = np.random.default_rng(1)
    decoded, test, train = (rng.standard_normal((n, 40)) for n in (300, 300, 200))
    found = {"f": identification.identify(similar(decoded, test, train), rng.integers(0, 5, 300))}
    rows = identification.summarise(found, 20, 0)
    assert {(row["direction"], row["candidates"]) for row in rows} == set(identification.SEARCHES)
    for row in rows:
        chance = float(row["chance"])
        spread = 1 / 12 if row["measure"] == "two_way" else chance * (1 - chance)
        assert abs(row["mean"] - chance) < 4 * np.sqrt(spread / 300), row
    of_all = {row["measure"]: row for row in rows if row["candidates"] == identification.ALL}
    assert (of_all["top_10"]["pool"], of_all["top_10"]["chance"]) == ("500", "0.02")


def test_the_directions_are_two_numbers():
    """One decoded feature that is near all stimuli takes their searches, and hardly disturbs those of the others."""
    rng = np.random.default_rng(2)
    true = rng.standard_normal((20, 30)) + 2 * rng.standard_normal(30)
    decoded = true + 1.5 * rng.standard_normal((20, 30))
    decoded[0] = true.mean(0)
    found = identification.identify(similar(decoded, true, true[:2] + 9), np.zeros(20, int))
    forward, backward = (found[direction, identification.TEST] for direction in BOTH)
    assert forward.top(1)[1:].mean() > 0.9
    assert backward.top(1)[1:].mean() < forward.top(1)[1:].mean()
    assert forward.two_way.mean() != backward.two_way.mean()


def test_what_only_classifies_is_at_chance_within_clusters_and_not_first_among_all():
    rng = np.random.default_rng(3)
    cluster = np.arange(200) % 10
    true = 3 * rng.standard_normal((10, 50))[cluster] + rng.standard_normal((200, 50))
    decoded = np.stack([true[cluster == each].mean(0) for each in range(10)])[cluster]
    rows = identification.summarise({"f": identification.identify(similar(decoded, true, true), cluster)}, 50, 0)
    forward = {(row["candidates"], row["measure"]): row for row in rows if row["direction"] == BOTH[0]}
    assert forward[identification.TEST, "two_way"]["mean"] > 0.9
    assert forward[identification.OWN_CLUSTER, "two_way"]["mean"] == pytest.approx(0.5, abs=1e-4)
    assert forward[identification.OWN_CLUSTER, "top_1"]["mean"] == pytest.approx(1 / 20, abs=1e-4)


def test_tables(tmp_path):
    rng = np.random.default_rng(4)
    true = rng.standard_normal((30, 20))
    of = {name: similar(true + rng.standard_normal((30, 20)), true, true[:4] + 5) for name in ("a", "b")}
    cluster = np.arange(30) % 3
    found = {name: identification.identify(each, cluster) for name, each in of.items()}
    rows = identification.summarise(found, 50, 0)
    identification.write(tmp_path, found, rows, of["a"].test_id, cluster, "TEST, sub01")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("identification.csv", "identification.md", "per_stimulus.csv", "identification.svg")
    }
    table = tables.read_csv(tmp_path / "identification.csv")
    of_each = tables.read_csv(tmp_path / "per_stimulus.csv")
    assert [int(row["cluster"]) for row in of_each] == cluster.tolist()
    (row,) = [
        row
        for row in table
        if (row["feature"], row["direction"], row["candidates"], row["measure"])
        == ("b", "decoded to stimuli", "test", "top_5")
    ]
    hits = [int(each["b, decoded to stimuli, test, nearer"]) < 5 for each in of_each]
    assert float(row["mean"]) == pytest.approx(np.mean(hits), abs=1e-4)
    assert not any(row["measure"] == "top_50" for row in table)  # of 34 candidates at most
    lines = (tmp_path / "identification.md").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("| stimulus to decoded, test, own cluster |") for line in lines) == 2
    assert all(line.count("|") == lines[2].count("|") for line in lines if line.startswith("|"))


def test_clusters_are_those_of_all_stimuli(tmp_path):
    values = np.repeat(np.eye(3), 4, axis=0) + 0.01 * np.random.default_rng(0).standard_normal((12, 3))
    ids = np.random.default_rng(1).permutation(12).astype(np.int32)
    paths = [tmp_path / "train.h5", tmp_path / "test.h5"]
    for path, part in zip(paths, (slice(8), slice(8, 12)), strict=True):
        hdf5.save(path, values[part].astype(np.float32), ids[part], axes=("dim",))
    found = identification.clusters_of(ids[[0, 1, 4, 11]], paths, {"clusters": 3, "seed": 0})
    assert found[0] == found[1]
    assert len(set(found.tolist())) == 3
    with pytest.raises(ValueError, match="lacks nsd_id 40"):
        identification.clusters_of(np.array([40], np.int32), paths, {"clusters": 3, "seed": 0})
