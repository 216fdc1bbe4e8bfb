"""Retrieval: plain cosines, closed forms, chance."""

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import retrieval


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def save(path, values):
    hdf5.save(path, values, np.arange(len(values)))
    return path


@pytest.mark.parametrize("centre", [False, True])
def test_cosines_are_numpys_whatever_the_block(tmp_path, rng, monkeypatch, centre):
    monkeypatch.setattr(retrieval, "BLOCK_COLUMNS", 7)
    a, b = rng.normal(1, 1, (5, 4, 6)).astype(np.float32), rng.normal(1, 1, (9, 4, 6)).astype(np.float16)
    found, a_id, b_id = retrieval.cosine(save(tmp_path / "a.h5", a), save(tmp_path / "b.h5", b), centre)
    flat_a, flat_b = a.reshape(5, -1).astype(np.float64), b.reshape(9, -1).astype(np.float64)
    if centre:
        flat_a, flat_b = flat_a - flat_b.mean(0), flat_b - flat_b.mean(0)
    expected = flat_a @ flat_b.T / np.outer(np.linalg.norm(flat_a, axis=1), np.linalg.norm(flat_b, axis=1))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (len(a_id), len(b_id)) == (5, 9)


def test_a_row_of_zeros_is_similar_to_nothing(tmp_path, rng):
    a, b = rng.normal(size=(2, 3, 8))
    a[1] = 0
    found, _, _ = retrieval.cosine(save(tmp_path / "a.h5", a), save(tmp_path / "b.h5", b))
    assert (found[1] == 0).all()
    assert (found[[0, 2]] != 0).all()


def test_embeddings_of_two_kinds(tmp_path, rng):
    paths = [save(tmp_path / f"{n}.h5", rng.normal(size=(3, n))) for n in (4, 5)]
    with pytest.raises(ValueError, match=r"4\.h5 has 4 columns, .*5\.h5 has 5; expected one embedding"):
        retrieval.cosine(*paths)


def test_perfect_and_chance_retrieval(rng):
    perfect = retrieval.top_1(np.eye(60), 20, 5, 0)
    assert {name: hits.tolist() for name, hits in perfect.items()} == {"image": [1.0] * 5, "brain": [1.0] * 5}
    noise = retrieval.top_1(rng.normal(size=(400, 400)), 20, 200, 0)
    for hits in noise.values():
        assert abs(hits.mean() - 1 / 20) < 0.01


def test_directions_differ():
    """All brains point to image 0; image 0 is nearest to brain 0, image 1 to brain 0 too."""
    similarity = np.array([[0.9, 0.5], [0.8, 0.1]])
    found = retrieval.top_1(similarity, 2, 1, 0)
    assert (found["image"][0], found["brain"][0]) == (0.5, 0.5)
    skewed = retrieval.top_1(np.array([[0.9, 0.95], [0.1, 0.99]]), 2, 1, 0)
    assert (skewed["image"][0], skewed["brain"][0]) == (0.5, 1.0)


def test_a_pool_needs_as_many_stimuli():
    with pytest.raises(ValueError, match=r"retrieval\.pool is 300; expected at most the 4 test stimuli"):
        retrieval.top_1(np.eye(4), 300, 30, 0)
