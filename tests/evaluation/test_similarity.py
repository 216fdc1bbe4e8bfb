"""Correlations of decoded and true features with those of all stimuli, streamed."""

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import similarity

N_TEST, N_TRAIN, N_COLUMNS = 5, 9, 23


def saved(path, values, ids):
    hdf5.save(path, np.asarray(values, np.float32), np.asarray(ids, np.int32), axes=("dim",))
    return path


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    values = {
        name: 300 + rng.standard_normal((n, N_COLUMNS)) for name, n in (("decoded", 5), ("test", 5), ("train", 9))
    }
    values["train"][2] = 1 / 3
    ids = {"decoded": range(5), "test": range(5), "train": range(10, 19)}
    return values, [saved(tmp_path / f"{name}.h5", values[name], ids[name]) for name in values]


@pytest.mark.parametrize("block", [4096, 7])
def test_they_are_those_of_numpy_whatever_the_blocks(files, monkeypatch, tmp_path, block):
    monkeypatch.setattr(similarity, "BLOCK_COLUMNS", block)
    values, paths = files
    found = similarity.correlate(*paths)
    single = {name: each.astype(np.float32).astype(float) for name, each in values.items()}
    everyone = np.concatenate([single["test"], single["train"]])
    with np.errstate(invalid="ignore"):
        expected = [np.corrcoef(single[name], everyone)[:5, 5:] for name in ("decoded", "test")]
    constant = np.arange(N_TEST + N_TRAIN) == N_TEST + 2
    for of, slow in zip((found.decoded, found.true), expected, strict=True):
        np.testing.assert_allclose(of[:, ~constant], slow[:, ~constant], atol=2e-5)
        assert np.isnan(of[:, constant]).all()  # what does not vary has no correlation
    np.testing.assert_allclose(np.diag(found.true), 1, atol=1e-6)
    similarity.save(tmp_path / "s.h5", found)
    for written, read in zip(found, similarity.load(tmp_path / "s.h5"), strict=True):
        np.testing.assert_array_equal(written, read)


def test_files_of_other_stimuli_or_features_are_refused(files, tmp_path):
    values, (decoded, test, train) = files
    others = saved(tmp_path / "others.h5", values["decoded"], range(1, 6))
    with pytest.raises(ValueError, match="nsd_id 0"):
        similarity.correlate(others, test, train)
    narrow = saved(tmp_path / "narrow.h5", values["train"][:, 1:], range(10, 19))
    with pytest.raises(ValueError, match=r"narrow.h5 has 22 columns and .*decoded.h5 23; expected one feature"):
        similarity.correlate(decoded, test, narrow)
    with hdf5.writing(tmp_path / "half.h5") as file:
        hdf5.store(file, "decoded", np.zeros(3))
    with pytest.raises(ValueError, match=r"half\.h5 lacks true"):
        similarity.load(tmp_path / "half.h5")
