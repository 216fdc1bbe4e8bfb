"""What a registered decoder has written is checked against the stimuli and the feature that it was asked for."""

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding.decoder import check_predictions

IDS = np.array([3, 5, 8], np.int32)


@pytest.fixture
def asked(tmp_path):
    """Betas of three test stimuli, and a feature of 4 x 2 numbers."""
    hdf5.save(tmp_path / "betas.h5", np.zeros((3, 7), np.float32), IDS)
    hdf5.save(tmp_path / "features.h5", np.zeros((5, 4, 2), np.float16), np.arange(5, dtype=np.int32))
    return tmp_path


def check(folder, values, ids):
    hdf5.save(folder / "out.h5", values, ids)
    check_predictions("nearest", folder / "out.h5", folder / "betas.h5", folder / "features.h5")


def test_predictions_of_the_stimuli_and_shape_pass(asked):
    check(asked, np.zeros((3, 4, 2), np.float32), IDS)


@pytest.mark.parametrize(
    ("shape", "ids"),
    [((3, 8), IDS), ((3, 4, 2), IDS[::-1]), ((2, 4, 2), IDS[:2]), ((3, 4, 2), IDS + 1), ((3, 4, 3), IDS)],
)
def test_others_are_refused(asked, shape, ids):
    expected = r"^decoder nearest wrote .*out\.h5; expected \(3, 4, 2\) for the nsd_id of .*betas\.h5 in their order"
    with pytest.raises(ValueError, match=expected):
        check(asked, np.zeros(shape, np.float32), np.ascontiguousarray(ids))
