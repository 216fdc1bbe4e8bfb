"""What a judge sees: classifiers find what their features tell, and say how reliable they are."""

import h5py
import numpy as np

from brain_diffuser import seen


def test_categories_are_found_in_new_pictures():
    rng = np.random.default_rng(0)
    shown = {"face": rng.random(300) < 0.2, "place": rng.random(300) < 0.2}
    label = seen.labels(shown)
    features = rng.normal(size=(300, 8))
    features[np.arange(300), label] += 4
    train, test = slice(0, 200), slice(200, 300)
    sets = {"test": features[test], "three": np.eye(8)[:3] * 9}
    found = seen.probabilities(features[train], label[train], sets, 3)
    assert found["three"].argmax(1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(found["test"].sum(1), 1)
    assert min(seen.recall(found["test"], label[test])) > 0.8
    assert np.mean(seen.recall(found["test"], rng.permutation(label[test]))) < 0.55


def test_the_first_category_counts():
    shown = {"face": np.array([True, True, False, False]), "body": np.array([True, False, True, False])}
    assert seen.labels(shown).tolist() == [0, 0, 1, 2]


def test_classes_without_images():
    features = np.random.default_rng(0).normal(size=(20, 3))
    label = np.where(features[:, 0] > 0, 0, 2)
    found = seen.probabilities(features, label, {"same": features}, 3)["same"]
    assert (found[:, 1] == 0).all()
    recalled = seen.recall(found, label)
    assert np.isnan(recalled[1])
    assert recalled[0] > 0.5


def test_one_class_alone():
    found = seen.probabilities(np.eye(3), np.array([2, 2, 2]), {"new": np.zeros((2, 3))}, 3)["new"]
    assert found.tolist() == [[0, 0, 1], [0, 0, 1]]


def test_batches_change_nothing(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), np.uint8)
    with h5py.File(tmp_path / "i.h5", "w") as file:
        stored = file.create_dataset("values", data=images)
        found = seen.embed(stored, lambda batch: batch.reshape(len(batch), -1).astype(np.float32), batch_size=3)
    np.testing.assert_array_equal(found, images.reshape(7, -1))
