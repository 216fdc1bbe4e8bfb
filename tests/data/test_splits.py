"""Further splits: which stimuli they hold out, and what is said of sections that cannot be right."""

import json

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5, rows
from brain_diffuser.data import splits
from brain_diffuser.data.stimulus_table import Stimuli
from brain_diffuser.workflow.config import schema

N = 60
KEYS = {"random": {}, "cluster": {"clusters": 3}, "far": {"share": 0.2}}


def pool(seed=0, names=True):
    """Stimuli in three groups of 30, 20 and 10, in the order of another split; the last of each group lies apart."""
    rng = np.random.default_rng(seed)
    centres = np.repeat([0, 1, 2], [30, 20, 10])
    feature = np.eye(3)[centres] @ (5 * rng.standard_normal((3, 40))) + rng.standard_normal((N, 40)) * 0.2
    feature[[29, 49, 59]] += 4 * rng.standard_normal((3, 40))
    order = rng.permutation(N)
    ids = np.arange(100, 100 + N, dtype=np.int32)[order]
    return splits.Pool(ids, {int(each): f"image_{each}.png" for each in ids} if names else {}, feature[order]), centres[
        order
    ]


def section(kind, **keys):
    (settings, *_) = splits.name_parts("name", {"kind": kind, **KEYS.get(kind, {}), **keys}).values()
    return settings


@pytest.mark.parametrize("kind", ["random", "cluster"])
def test_every_stimulus_is_held_out_in_one_part(kind):
    stimuli, _ = pool()
    parts = splits.name_parts("each", {"kind": kind, **KEYS[kind]})
    held = [splits.choose(settings, stimuli) for settings in parts.values()]
    assert list(parts) == [f"each_{number}" for number in range(len(held))]
    assert (sum(each.test.astype(int) for each in held) == 1).all()
    assert all((each.test ^ each.train).all() for each in held)


@pytest.mark.parametrize("kind", list(KEYS))
def test_a_split_does_not_depend_on_the_order_of_the_stimuli(kind):
    stimuli, _ = pool()
    again = np.random.default_rng(1).permutation(N)
    other = splits.Pool(stimuli.nsd_id[again], {}, stimuli.feature[again])
    first, second = (splits.choose(section(kind), each) for each in (stimuli, other))
    assert set(stimuli.nsd_id[first.test]) == set(other.nsd_id[second.test])


def test_a_seed_is_another_draw():
    stimuli, _ = pool()
    first, same, other = (splits.choose(section("random", seed=seed), stimuli).test for seed in (0, 0, 1))
    assert (first == same).all()
    assert (first != other).any()


def test_whole_clusters_are_held_out_the_largest_first():
    stimuli, group = pool()
    parts = splits.name_parts("cluster", {"kind": "cluster", "clusters": 3})
    held = [splits.choose(settings, stimuli).test for settings in parts.values()]
    near = ~np.isin(stimuli.nsd_id, [129, 149, 159])  # those apart may go with any group
    for number, test in enumerate(held):
        assert len(set(group[test & near])) == 1
        assert set(group[test & near]) == {number}


def test_far_stimuli_are_those_without_a_near_neighbour():
    stimuli, _ = pool()
    held = splits.choose(section("far", share=0.05), stimuli)
    assert set(stimuli.nsd_id[held.test]) == {129, 149, 159}


def test_nearest_is_the_highest_correlation():
    rng = np.random.default_rng(0)
    some, others = rng.standard_normal((1100, 8)), rng.standard_normal((70, 8))
    place, distance = splits.nearest(some, others)
    correlation = np.corrcoef(some, others)[:1100, 1100:]
    assert (place == correlation.argmax(1)).all()
    np.testing.assert_allclose(distance, 1 - correlation.max(1), atol=1e-12)
    place, _ = splits.nearest(others, others, is_same=True)
    assert (place != np.arange(70)).all()


@pytest.mark.parametrize("kind", ["random", "far"])
def test_the_number_of_test_stimuli_is_known_before(kind):
    stimuli, _ = pool()
    for settings in splits.name_parts("each", {"kind": kind, **KEYS[kind]}).values():
        held = splits.choose(settings, stimuli)
        assert splits.n_stimuli(N, settings, "test") == held.test.sum()
        assert splits.n_stimuli(N, settings, "train") == held.train.sum()


def test_a_column_of_a_table_by_name_or_id(tmp_path):
    for names in (True, False):
        stimuli, _ = pool(names=names)
        called = [stimuli.names.get(int(each), str(each)) for each in stimuli.nsd_id]
        words = ["test" if each % 5 == 0 else "" if each % 5 == 1 else "train" for each in stimuli.nsd_id]
        lines = [f"{name}\t{word}" for name, word in zip(called, words, strict=True)]
        table = tmp_path / "splits.tsv"
        table.write_text("\n".join(["stimulus\tmine", *lines, "of_another_subject.png\ttest"]))
        held = splits.choose(section("column", file="x", column="mine"), stimuli, [table])
        assert (held.test == (stimuli.nsd_id % 5 == 0)).all()
        assert (~(held.test | held.train) == (stimuli.nsd_id % 5 == 1)).all()


def published(path, **changes):
    ids = {"train_ids": [f"image_{each}.png" for each in range(100, 148)], "test_ids": ["image_150.png", "other.png"]}
    variant = {"variant_id": "a", **ids, **changes}
    path.write_text(json.dumps({"name": "tau", "variants": [variant, {**variant, "variant_id": "b"}]}))
    return path


def test_a_published_split_is_read_as_it_is(tmp_path):
    stimuli, _ = pool()
    held = splits.choose(section("published", file="x", variant="b"), stimuli, [published(tmp_path / "tau.json")])
    assert set(stimuli.nsd_id[held.test]) == {150}
    assert set(stimuli.nsd_id[held.train]) == set(range(100, 148))


@pytest.mark.parametrize(
    ("changes", "variant", "expected"),
    [
        ({}, "", "has 2 variants; set variant of the split to one of a, b"),
        ({}, "c", "has no variant c; set variant of the split to one of a, b"),
        ({"test_ids": []}, "a", "the variant has no list test_ids"),
        ({"test_ids": ["of_somebody.png"]}, "a", "none of the 1 test_ids is a stimulus of this subject"),
        ({"test_ids": ["image_100.png"]}, "a", "image_100.png is in train_ids and in test_ids"),
    ],
)
def test_a_wrong_published_split_is_one_sentence(tmp_path, changes, variant, expected):
    stimuli, _ = pool()
    path = published(tmp_path / "tau.json", **changes)
    with pytest.raises(ValueError, match=expected):
        splits.choose(section("published", file="x", variant=variant), stimuli, [path])


@pytest.mark.parametrize("text", ["", "[]", '{"variants": 3}', '{"variants": [{"train_ids": []}]}', "\x00"])
def test_what_is_no_split_file_is_said(tmp_path, text):
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"split\.json"):
        splits.choose(section("published", file="x"), pool()[0], [path])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["image_100.png\tyes"], "line 2: mine is 'yes'; expected train, test or an empty cell"),
        (["image_100.png\ttrain"], "has no line for stimulus"),
        (["image_100.png\ttrain", "image_100.png\ttest"], "line 3: stimulus image_100.png is there twice"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path, lines, expected):
    table = tmp_path / "splits.tsv"
    table.write_text("\n".join(["stimulus\tmine", *lines]))
    with pytest.raises(ValueError, match=expected):
        splits.choose(section("column", file="x", column="mine"), pool()[0], [table])


def test_a_split_has_enough_stimuli_and_not_too_many():
    stimuli, _ = pool()
    own = {
        "train": Stimuli(stimuli.nsd_id[:40], tuple(np.array([row]) for row in range(40))),
        "test": Stimuli(stimuli.nsd_id[40:], tuple(np.array([row]) for row in range(40, 60))),
    }
    test = np.zeros(N, bool)
    test[[3, 50]] = True
    divided = splits.divide(own, splits.Held(test, ~test), "far")
    assert divided["test"].nsd_id.tolist() == stimuli.nsd_id[[3, 50]].tolist()
    assert [each.tolist() for each in divided["test"].trials] == [[3], [50]]
    assert len(divided["train"].nsd_id) == N - 2
    for chosen, expected in (([3], "1 test stimulus"), (range(31), "31 of 60 stimuli to test")):
        test = np.isin(np.arange(N), list(chosen))
        with pytest.raises(ValueError, match=expected):
            splits.divide(own, splits.Held(test, ~test), "far")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"kind": "far", "folds": 3}, "splits.it has folds, which a split of kind far does not read"),
        ({"kind": "column", "file": "x.tsv"}, "splits.it has no column, which a split of kind column needs"),
        ({"kind": "random", "folds": 4, "only": [0, 4]}, "splits.it.only has 4, and splits.it.folds is 4"),
        ({"kind": "far", "only": [0]}, "splits.it has only, which a split of kind far does not read"),
    ],
)
def test_a_wrong_section_is_one_sentence(written, expected):
    found = list(splits.problems("it", schema.Split(**written).model_dump(exclude_none=True)))
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize("kind", list(splits.KINDS))
def test_the_keys_of_a_kind_are_keys_of_the_configuration(kind):
    assert set(splits.KINDS[kind].keys) < set(schema.Split.model_fields)


def test_rows_of_two_arrays_as_one(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((7, 3, 1500)).astype(np.float16)
    ids = np.arange(20, 27, dtype=np.int32)
    for name, part in (("a", slice(0, 4)), ("b", slice(4, 7))):
        hdf5.save(tmp_path / f"{name}.h5", values[part], ids[part], axes=("token", "dim"), attrs={"feature": "f"})
        hdf5.save(tmp_path / f"images_{name}.h5", values[part].astype(np.uint8), ids[part], flatten=False)
    wanted = np.array([26, 20, 23], np.int32)
    rows.select([tmp_path / "a.h5", tmp_path / "b.h5"], wanted, tmp_path / "c.h5")
    hdf5.save(tmp_path / "d.h5", values[[6, 0, 3]], wanted, axes=("token", "dim"), attrs={"feature": "f"})
    with hdf5.reading(tmp_path / "c.h5") as (made, made_id), hdf5.reading(tmp_path / "d.h5") as (same, same_id):
        assert (made[...] == same[...]).all()
        assert made_id.tolist() == same_id.tolist()
        assert hdf5.about(made) == hdf5.about(same)
    rows.select([tmp_path / "images_a.h5", tmp_path / "images_b.h5"], wanted, tmp_path / "images_c.h5")
    with hdf5.reading(tmp_path / "images_c.h5") as (images, nsd_id):
        assert (images[...] == values[[6, 0, 3]].astype(np.uint8)).all()
        assert nsd_id.tolist() == wanted.tolist()
    np.testing.assert_allclose(
        splits.pooled(tmp_path / "c.h5"), values[[6, 0, 3]].astype(np.float32).mean(1), rtol=1e-5
    )
    with pytest.raises(ValueError, match="lack nsd_id 30"):
        rows.select([tmp_path / "a.h5", tmp_path / "b.h5"], np.array([30], np.int32), tmp_path / "e.h5")
