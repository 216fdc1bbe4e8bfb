"""The best training image by decoded feature, and its oracle."""

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.evaluation import nearest_training
from brain_diffuser.evaluation.similarity import Similarity

RNG = np.random.default_rng(0)
N_TEST, N_TRAIN = 4, 6
DECODED, TRUE = RNG.uniform(-1, 1, (2, N_TEST, N_TEST + N_TRAIN)).astype(np.float32)
TRAIN_ID = np.arange(20, 26, dtype=np.int32)
OF = Similarity(DECODED, TRUE, np.arange(N_TEST, dtype=np.int32), TRAIN_ID)


@pytest.mark.parametrize(("by", "correlation"), [("decoded", DECODED), ("true", TRUE)])
def test_images_are_those_of_the_most_similar_training_stimulus(tmp_path, by, correlation):
    images = RNG.integers(0, 256, (N_TRAIN, 5, 7, 3), dtype=np.uint8)
    hdf5.save(tmp_path / "train.h5", images, TRAIN_ID, axes=("height", "width", "rgb"), flatten=False)
    nearest_training.write(tmp_path / by, tmp_path / "m.tsv", tmp_path / "train.h5", OF, by, "nsd")
    nsd_id, written = image_files.read_folder(tmp_path / by, tmp_path / "m.tsv")
    assert nsd_id.tolist() == OF.test_id.tolist()
    for row, image in enumerate(written):
        best = max(range(N_TRAIN), key=lambda each: correlation[row, N_TEST + each])
        np.testing.assert_array_equal(image, images[best])
    hdf5.save(tmp_path / "other.h5", images, TRAIN_ID + 1, axes=("height", "width", "rgb"), flatten=False)
    with pytest.raises(ValueError, match="nsd_id 20"):
        nearest_training.write(tmp_path / "o", tmp_path / "m.tsv", tmp_path / "other.h5", OF, by, "nsd")


def test_a_training_stimulus_without_a_correlation_is_not_chosen_and_a_constant_feature_chooses_none():
    decoded = DECODED.copy()
    best = decoded[0, N_TEST:].argmax()
    decoded[:, N_TEST + best] = np.nan
    assert nearest_training.choose(OF._replace(decoded=decoded), "decoded")[0] != best
    decoded[2] = np.nan
    with pytest.raises(ValueError, match=r"the decoded feature of nsd_id 2 \(1 of 4\) does not vary"):
        nearest_training.choose(OF._replace(decoded=decoded), "decoded")
