"""What a judge sees: classifiers find what their features tell, and say how reliable they are."""

import h5py
import numpy as np
import pytest

from brain_diffuser import seen


def test_categories_are_found_in_new_pictures():
    rng = np.random.default_rng(0)
    shown = rng.random(300) < 0.2
    features = rng.normal(size=(300, 8))
    features[:, 0] += 4 * shown
    train, test = slice(0, 200), slice(200, 300)
    found = seen.probabilities(features[train], {"face": shown[train]}, {"test": features[test], "one": np.eye(8) * 9})
    assert found["one"]["face"][0] > 0.9
    assert seen.reliability(found["test"], {"face": shown[test]})["face"] > 0.95
    shuffled = rng.permutation(shown[test])
    assert seen.reliability(found["test"], {"face": shuffled})["face"] == pytest.approx(0.5, abs=0.2)


def test_batches_change_nothing(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), np.uint8)
    with h5py.File(tmp_path / "i.h5", "w") as file:
        stored = file.create_dataset("values", data=images)
        found = seen.embed(stored, lambda batch: batch.reshape(len(batch), -1).astype(np.float32), batch_size=3)
    np.testing.assert_array_equal(found, images.reshape(7, -1))
