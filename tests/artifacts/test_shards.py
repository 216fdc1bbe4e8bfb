"""Spans of stimuli, each computed by a job of its own, are one array or one folder again."""

from functools import partial

import h5py
import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5, shards

NSD_ID = np.array([40, 7, 3, 99, 12], np.int32)


@pytest.fixture
def like(tmp_path):
    """An array of five stimuli."""
    hdf5.save(tmp_path / "betas.h5", np.zeros((5, 2)), NSD_ID)
    return [tmp_path / "betas.h5"]


def written(folder, size, like, save):
    """Shards of eight rows, of which five are there, as jobs write them by `save(path, rows)`."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{span}.h5" for span in shards.spans(8, size)]
    for span, path in zip(shards.spans(8, size), paths, strict=True):
        shards.make(span, like[0], path, partial(save, path))
    return paths


def of_features(values):
    return lambda path, rows: hdf5.save(path, values[rows], NSD_ID[rows], axes=("tokens", "dim"))


def test_spans():
    assert shards.spans(982, 64)[0] == "00000-00064"
    assert shards.spans(982, 64)[-1] == "00960-01024"
    assert len(shards.spans(982, 64)) == len(shards.spans(1000, 64)) == 16
    assert shards.spans(64, 64) == ["00000-00064"]
    assert shards.spans(0, 64) == []


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_are_the_same_to_the_byte_however_many_shards(tmp_path, like, dtype):
    """More columns than are gathered at a time; the last shards are empty."""
    values = np.random.default_rng(0).normal(size=(5, 43, 51)).astype(dtype)
    files = []
    for size in (1, 2, 3, 8):
        paths = written(tmp_path / str(size), size, like, of_features(values))
        shards.gather(paths, like, tmp_path / f"{size}.h5")
        files.append((tmp_path / f"{size}.h5").read_bytes())
    assert len(set(files)) == 1
    found = hdf5.load(tmp_path / "2.h5")
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.nsd_id, NSD_ID)
    with h5py.File(tmp_path / "2.h5") as file:
        assert hdf5.about(file["values"])["axes"] == ["tokens", "dim"]


def test_images_come_in_order(tmp_path, like):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
    paths = written(
        tmp_path,
        2,
        like,
        lambda path, rows: shards.save_images(
            path, zip(NSD_ID[rows].tolist(), images[rows], strict=True), NSD_ID[rows]
        ),
    )
    ids, found = zip(*shards.images(paths, like), strict=True)
    np.testing.assert_array_equal(found, images)
    assert list(ids) == NSD_ID.tolist()


def test_several_features_of_a_shard(tmp_path, like):
    parts = {"early": np.arange(15.0).reshape(5, 3), "late": np.arange(5.0)[:, None]}
    paths = written(
        tmp_path,
        2,
        like,
        lambda path, rows: shards.save_parts(
            path, [{name: sign * part[rows] for name, part in parts.items()} for sign in (1, -1)], NSD_ID[rows]
        ),
    )
    nsd_id, found = shards.load_parts(paths, like)
    np.testing.assert_array_equal(nsd_id, NSD_ID)
    for sign, features in zip((1, -1), found, strict=True):
        for name, part in parts.items():
            np.testing.assert_array_equal(features[name], sign * part)


def test_a_missing_shard_is_named(tmp_path, like):
    paths = written(tmp_path, 2, like, of_features(np.zeros((5, 2, 3))))
    with pytest.raises(ValueError, match=r"betas\.h5 has 5 stimuli, .* has 3; nsd_id 40 is missing from the second"):
        shards.gather(paths[1:], like, tmp_path / "all.h5")
    with pytest.raises(ValueError, match=r"in another order; row 0 is nsd_id 40 in the first, 3 in the second"):
        shards.gather([paths[1], paths[0], paths[2]], like, tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def test_a_damaged_shard_is_named_with_a_fix(tmp_path, like):
    paths = written(tmp_path / "shards", 2, like, of_features(np.zeros((5, 2, 3))))
    paths[1].write_bytes(paths[1].read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=rf"{paths[1]} cannot be read as HDF5 .* Rerun its job: snakemake --force {paths[1]}"
    ):
        shards.gather(paths, like, tmp_path / "all.h5")


def test_a_shard_that_is_not_finished_leaves_nothing(tmp_path, like):
    def broken():
        yield 40, np.zeros((4, 4, 3), np.uint8)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        shards.save_images(tmp_path / "one.h5", broken(), NSD_ID)
    assert [path.name for path in tmp_path.iterdir()] == ["betas.h5"]
