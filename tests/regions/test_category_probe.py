"""Category probe: classifiers find the categories in an evaluation network's features, and say how reliably."""

import h5py
import numpy as np

from brain_diffuser.regions import category_probe


def test_categories_are_found_in_new_images():
    rng = np.random.default_rng(0)
    has_category = {"face": rng.random(300) < 0.2, "place": rng.random(300) < 0.2}
    label = category_probe.labels([*has_category.values()])
    features = rng.normal(size=(300, 8))
    features[np.arange(300), label] += 4
    train, test = (category_probe.Examples(features[rows], label[rows]) for rows in (slice(0, 200), slice(200, 300)))
    classify = category_probe.classifier([train], 3)
    assert classify(np.eye(8)[:3] * 9).argmax(1).tolist() == [0, 1, 2]
    found = classify(test.features)
    np.testing.assert_allclose(found.sum(1), 1)
    assert min(category_probe.recall(found, test.label)) > 0.8
    assert np.mean(category_probe.recall(found, rng.permutation(test.label))) < 0.55


def test_few_reconstructions_teach_what_blur_does():
    """Where decoding moves a category's features onto another's, the classifier follows the decoded ones."""
    rng = np.random.default_rng(0)
    label, decoded_label = np.arange(400) % 2, np.arange(40) % 2
    features, decoded = rng.normal(size=(400, 2)), rng.normal(size=(40, 2))
    features[:, 0] += 4 * label
    decoded += 6 * np.stack([np.ones(40), decoded_label], 1)  # all of them look like category 1
    train, made = category_probe.Examples(features, label), category_probe.Examples(decoded, decoded_label)
    (alone,) = [category_probe.classifier([train], 2)(decoded)]
    assert category_probe.recall(alone, decoded_label)[0] < 0.2
    (found,) = category_probe.held_out(train, made, [decoded], 2)
    assert min(category_probe.recall(found, decoded_label)) > 0.8


def test_no_stimulus_is_scored_by_its_own_reconstruction():
    """Labels drawn at random cannot be recognised, however well they are remembered."""
    rng = np.random.default_rng(0)
    train = category_probe.Examples(rng.normal(size=(200, 60)), rng.integers(0, 2, 200))
    made = category_probe.Examples(rng.normal(size=(100, 60)), rng.integers(0, 2, 100))
    (found,) = category_probe.held_out(train, made, [made.features], 2)
    assert np.mean(category_probe.recall(found, made.label)) < 0.65
    assert np.mean(category_probe.recall(category_probe.classifier([train, made], 2)(made.features), made.label)) > 0.65


def test_the_first_category_counts():
    has_category = {"face": np.array([True, True, False, False]), "body": np.array([True, False, True, False])}
    assert category_probe.labels([*has_category.values()]).tolist() == [0, 0, 1, 2]


def test_classes_without_images():
    features = np.random.default_rng(0).normal(size=(20, 3))
    label = np.where(features[:, 0] > 0, 0, 2)
    found = category_probe.classifier([category_probe.Examples(features, label)], 3)(features)
    assert (found[:, 1] == 0).all()
    recalled = category_probe.recall(found, label)
    assert np.isnan(recalled[1])
    assert recalled[0] > 0.5


def test_one_class_alone():
    found = category_probe.classifier([category_probe.Examples(np.eye(3), np.array([2, 2, 2]))], 3)(np.zeros((2, 3)))
    assert found.tolist() == [[0, 0, 1], [0, 0, 1]]


def test_batches_change_nothing(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), np.uint8)
    with h5py.File(tmp_path / "i.h5", "w") as file:
        stored = file.create_dataset("values", data=images)
        found = category_probe.embed_stored(
            stored, lambda batch: batch.reshape(len(batch), -1).astype(np.float32), batch_size=3
        )
    np.testing.assert_array_equal(found, images.reshape(7, -1))
