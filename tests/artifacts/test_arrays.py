"""Artifacts: what is saved comes back, whole or not at all, and rows of two files meet only if they are the same."""

import json
import os
import time

import h5py
import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5

IDS = np.array([7, 0, 72999, 12], np.int32)


@pytest.fixture
def values():
    return np.random.default_rng(0).standard_normal((4, 6, 5)).astype(np.float32)


def leftovers(folder):
    return [path.name for path in folder.iterdir() if ".part-" in path.name or ".earlier-" in path.name]


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "int16"])
def test_saved_values_come_back_with_their_axes(tmp_path, values, dtype):
    values = (values * 10).astype(dtype)
    hdf5.save(tmp_path / "x.h5", values, IDS, axes=("tokens", "dim"), unit="none", attrs={"seed": 3, "alpha": 0.5})
    rows = hdf5.load(tmp_path / "x.h5")
    assert rows.values.dtype == dtype
    assert np.array_equal(rows.values, values)
    assert np.array_equal(rows.nsd_id, IDS)
    assert rows.nsd_id.dtype == np.int32
    with hdf5.reading(tmp_path / "x.h5") as (stored, _):
        assert stored.shape == (4, 30)
        assert np.array_equal(stored[:, 7:9], values.reshape(4, 30)[:, 7:9])
        assert json.loads(stored.attrs["shape"]) == [6, 5]
        assert json.loads(stored.attrs["axes"]) == ["tokens", "dim"]
        assert json.loads(stored.attrs["made_by"]) == {"seed": 3, "alpha": 0.5}
        assert json.loads(stored.attrs["versions"])["h5py"] == h5py.__version__


def test_images_keep_their_axes_one_per_chunk(tmp_path):
    images = np.arange(4 * 5 * 6 * 3, dtype=np.uint8).reshape(4, 5, 6, 3)
    hdf5.save(tmp_path / "x.h5", images, IDS, flatten=False)
    with hdf5.reading(tmp_path / "x.h5") as (stored, _):
        assert stored.shape == (4, 5, 6, 3)
        assert stored.chunks == (1, 5, 6, 3)
    assert np.array_equal(hdf5.load(tmp_path / "x.h5").values, images)


def test_blocks_of_rows_and_of_columns_fill_the_same_file(tmp_path, values):
    flat = values.reshape(4, 30)
    with hdf5.create(tmp_path / "rows.h5", (4, 6, 5), np.float32, IDS, chunk=(3, 7)) as stored:
        for row in range(4):
            stored[row] = flat[row]
    with hdf5.create(tmp_path / "columns.h5", (4, 6, 5), "float32", IDS) as stored:
        for start in range(0, 30, 8):
            stored[:, start : start + 8] = flat[:, start : start + 8]
    for name in ("rows.h5", "columns.h5"):
        assert np.array_equal(hdf5.load(tmp_path / name).values, values)


@pytest.mark.parametrize("shape", [(8859, 91168), (982, 257 * 768), (24, 50), (1, 1), (100_000, 10)])
def test_chunks_are_about_a_mebibyte_and_waste_little(shape):
    for itemsize in (1, 2, 4):
        rows, columns = hdf5.feature_chunks(*shape, itemsize)
        assert rows * columns * itemsize <= 1.01 * 2**20
        assert rows * -(-shape[0] // rows) * columns * -(-shape[1] // columns) <= 1.03 * shape[0] * shape[1]


def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path, values):
    hdf5.save(tmp_path / "x.h5", values, IDS)
    with pytest.raises(TypeError), hdf5.create(tmp_path / "x.h5", (4, 3), np.float32, IDS) as stored:
        stored[0] = object()
    assert np.array_equal(hdf5.load(tmp_path / "x.h5").values, values)
    assert leftovers(tmp_path) == []


def test_a_folder_replaces_a_folder_or_stays(tmp_path):
    for word in ("first", "second"):
        with hdf5.atomic(tmp_path / "new" / "images") as partial:
            partial.mkdir()
            (partial / f"{word}.txt").write_text(word)
            assert partial.name == f"images.part-{os.getpid()}"
    with pytest.raises(FileExistsError), hdf5.atomic(tmp_path / "new" / "images") as partial:
        (partial / "third").mkdir(parents=True) or partial.mkdir()
    with pytest.raises(FileNotFoundError), hdf5.atomic(tmp_path / "new" / "images"):
        pass  # nothing was written
    assert [path.name for path in (tmp_path / "new" / "images").iterdir()] == ["second.txt"]
    assert leftovers(tmp_path / "new") == []


def test_load_aligned_returns_both(tmp_path, values):
    hdf5.save(tmp_path / "a.h5", values, IDS)
    hdf5.save(tmp_path / "b.h5", values[:, 0], IDS)
    a, b = hdf5.load_aligned(tmp_path / "a.h5", tmp_path / "b.h5")
    assert np.array_equal(a.values[:, 0], b.values)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            [7, 0, 12],
            r"^betas.h5 has 4 stimuli, vdvae.h5 has 3; nsd_id 72999 is missing from the second. Rerun its job: .*vdvae",
        ),
        (
            [7, 0, 72999, 12, 5],
            "vdvae.h5 has 5; nsd_id 5 is missing from the first. Rerun its job: .*features",
        ),
        (
            [7, 0, 12, 72999],
            "in another order; row 2 is nsd_id 72999 in the first, 12 in the second. Rerun its job: .*features",
        ),
        ([7, 0, 72999, 12, 7], "vdvae.h5 has 5; nsd_id 7 is repeated. Rerun its job: .*features"),
    ],
)
def test_other_stimuli_are_refused(tmp_path, ids, message):
    path_a, path_b = tmp_path / "nsd" / "betas.h5", tmp_path / "features" / "vdvae.h5"
    hdf5.save(path_a, np.zeros((4, 2)), IDS)
    hdf5.save(path_b, np.zeros((len(ids), 2)), np.array(ids))
    with pytest.raises(ValueError, match=message):
        hdf5.load_aligned(path_a, path_b)


def test_one_id_per_row(tmp_path):
    with pytest.raises(ValueError, match=r"x.h5 needs one nsd_id per row; got 4 ids for 3 rows."):
        with hdf5.create(tmp_path / "x.h5", (3, 2), np.float32, IDS):
            pass
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_artifacts_are_named(tmp_path, values):
    path = tmp_path / "features" / "x.h5"
    with pytest.raises(FileNotFoundError, match=r"x.h5 is missing; expected an HDF5 file. Rerun its job: .*features"):
        hdf5.load(path)
    path.parent.mkdir()
    path.write_bytes(b"not hdf5")
    with pytest.raises(
        ValueError,
        match=r"x.h5 cannot be read as HDF5 \(file signature not found\).* Rerun its job: .*features",
    ):
        hdf5.load(path)
    hdf5.save(path, np.zeros((4, 1000)), IDS)
    os.truncate(path, 20_000)
    with pytest.raises(ValueError, match=r"x.h5 cannot be read as HDF5 \(truncated file: .*\); it may be cut short"):
        hdf5.load(path)
    with h5py.File(path, "w") as file:
        file["values"] = np.zeros((4, 2))
    with pytest.raises(
        ValueError,
        match=r"x.h5 lacks nsd_id; expected values and the nsd_id of each row. Rerun its job: .*features",
    ):
        hdf5.load(path)
    with h5py.File(path, "a") as file:
        file["nsd_id"] = IDS[:3]
    with pytest.raises(ValueError, match=r"x.h5 has 4 rows and 3 nsd_id; expected as many"):
        hdf5.load(path)
    path.unlink()
    with h5py.File(path, "w") as file:
        file["other"] = 0
    with pytest.raises(ValueError, match=r"x.h5 lacks values; expected"):
        hdf5.load(path)


def test_a_file_is_the_same_in_whatever_order_its_blocks_come(tmp_path):
    """As with any number of threads."""
    n_rows, n_columns = 300, 4000

    def written(name, starts):
        with hdf5.create(tmp_path / name, (n_rows, n_columns), np.float32, np.arange(n_rows)) as values:
            width = values.chunks[1]
            assert n_columns > 2 * width
            for start in starts(range(0, n_columns, width)):
                values[:, start : start + width] = start
        return (tmp_path / name).read_bytes()

    assert written("forwards.h5", iter) == written("backwards.h5", reversed)


def test_a_file_is_the_same_whenever_it_is_written(tmp_path):
    """HDF5 writes the time into some files, which would give what is made again another digest."""
    files = set()
    for second in range(3):
        hdf5.save(tmp_path / "x.h5", np.ones((2, 3)), np.arange(2))
        with hdf5.adding(tmp_path / "x.h5") as file:
            hdf5.describe(file, "receipt", "{}")
        with hdf5.writing(tmp_path / "y.h5") as file:
            hdf5.store(file, "atlas/labels", np.arange(9))
        files.add((tmp_path / "x.h5").read_bytes() + (tmp_path / "y.h5").read_bytes())
        time.sleep(0.6 * (second < 2))
    assert len(files) == 1


def test_a_flipped_bit_is_never_read(tmp_path):
    """Every byte of structure and content, or nearly: what is read is what was written, or an error."""
    values = np.random.default_rng(0).standard_normal((6, 40)).astype(np.float16)
    path, damaged = tmp_path / "a.h5", tmp_path / "b.h5"
    hdf5.save(path, values, np.arange(6), axes=("features",), unit="sd", attrs={"alpha": 2})
    content, said, silent = path.read_bytes(), [], []
    assert b"sd" in content
    for place in range(0, len(content), max(1, len(content) // 700)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 8)
        damaged.write_bytes(flipped)
        try:
            found = hdf5.load(damaged)
        except ValueError as error:
            said.append("b.h5" in str(error))
        else:
            silent.append(np.array_equal(found.values, values) and found.nsd_id.tolist() == list(range(6)))
    assert all(said)
    assert all(silent)
    assert len(said) > len(silent)


def test_a_damaged_chunk_names_its_file_among_several(tmp_path):
    values = np.random.default_rng(0).standard_normal((6, 40))
    for name in ("sound", "damaged"):
        hdf5.save(tmp_path / f"{name}.h5", values, np.arange(6))
    path = tmp_path / "damaged.h5"
    content = path.read_bytes()
    at = content.index(values.tobytes())
    path.write_bytes(content[: at + 5] + bytes([content[at + 5] ^ 4]) + content[at + 6 :])
    with (
        pytest.raises(ValueError, match=r"damaged\.h5 is damaged: its content is not what was written"),
        hdf5.reading(path) as (stored, _),
        hdf5.reading(tmp_path / "sound.h5"),
    ):
        stored[:]


@pytest.mark.parametrize("lost", [b"\0", b"\xff"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool"])
def test_a_chunk_that_was_lost_is_not_read_as_zeros(tmp_path, lost, dtype):
    """The checksum of zeros is zero, so that a hole in a file fits; so do ones, which erased memory is full of."""
    path = tmp_path / "a.h5"
    values = (np.arange(4 * 700).reshape(4, 700) % 7).astype(dtype)
    hdf5.save(path, values, np.arange(4))
    np.testing.assert_array_equal(hdf5.load(path).values, values)
    with h5py.File(path) as file:
        chunk = file["values"].id.get_chunk_info(0)
    content = path.read_bytes()
    end = chunk.byte_offset + chunk.size
    path.write_bytes(content[: chunk.byte_offset] + lost * chunk.size + content[end:])
    with pytest.raises(ValueError, match=r"a\.h5 is damaged: parts of it were lost\. Rerun its job"):
        hdf5.load(path)


def test_zeros_that_were_written_are_read(tmp_path):
    values = np.zeros((6, 3, 2, 3), np.uint8)
    values[2] = 255
    values[4] = 7
    hdf5.save(tmp_path / "a.h5", values, np.zeros(6, np.int32), flatten=False)
    np.testing.assert_array_equal(hdf5.load(tmp_path / "a.h5").values, values)
    with h5py.File(tmp_path / "a.h5") as file:
        assert json.loads(file.attrs[hdf5.PLAIN]) == {"nsd_id": 1, "values": 5}
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["values"][0] = 3  # by hand: less zeros are no loss
    assert hdf5.load(tmp_path / "a.h5").values[0].min() == 3


def test_a_file_from_before_zeros_were_counted_is_read(tmp_path):
    hdf5.save(tmp_path / "a.h5", np.zeros((3, 2)), np.arange(3))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file.attrs[hdf5.PLAIN]
    assert hdf5.load(tmp_path / "a.h5").values.shape == (3, 2)
