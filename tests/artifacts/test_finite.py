"""Numbers that are not finite: found in arrays and tensors of any type, named by stimulus, kept out of every file."""

import h5py
import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from brain_diffuser.artifacts import finite, hdf5, image_files, shards, tables

IDS = np.array([2950, 7, 14, 70000], np.int32)
BAD = (np.nan, np.inf, -np.inf)
TYPES = (np.float16, np.float32, np.float64, torch.float16, torch.bfloat16, torch.float32)


def zeros(dtype, shape=(4, 3, 5)):
    return torch.zeros(shape, dtype=dtype) if isinstance(dtype, torch.dtype) else np.zeros(shape, dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("bad", BAD)
def test_rows_are_found_in_every_type(dtype, bad, monkeypatch):
    monkeypatch.setattr(finite, "BLOCK_ITEMS", 30)  # two rows
    values = zeros(dtype)
    assert finite.rows_not_finite(values) == []
    values[1, 2, 4] = values[3, 0, 0] = bad
    assert finite.rows_not_finite(values) == [1, 3]
    np.testing.assert_equal(finite.first_not_finite(values[3]), bad)


@pytest.mark.parametrize(
    "values", [np.arange(4), np.zeros((2, 3), np.uint8), np.empty((0, 3), np.float32), torch.ones(2, dtype=torch.uint8)]
)
def test_whole_numbers_and_nothing_pass(values):
    assert finite.rows_not_finite(values) == []


def test_the_stage_names_the_stimuli_of_a_batch():
    values = np.zeros((6, 2))
    values[[1, 4, 5], 1] = np.inf
    message = "recon, nsd_id 7, 14: inf in the noise; expected finite numbers. Do this."
    with pytest.raises(finite.NotFinite) as caught:
        with finite.naming("later", [0, 1, 2]), finite.naming("recon", [2950, 7, 14]):  # both halves of a doubled batch
            finite.check(values, "the noise", "Do this.")
    assert str(caught.value) == message
    with pytest.raises(ValueError, match="row 11 of the batch: inf in the noise"), finite.from_row(10):
        finite.check(values[:2], "the noise", "")


def test_many_stimuli_are_counted():
    with (
        pytest.raises(ValueError, match=r"s, nsd_id 0, 1, 2, 3, 4 \(and 15 more\): nan"),
        finite.naming("s", range(20)),
    ):
        finite.check(np.full(20, np.nan), "it", "")


@pytest.mark.parametrize(
    ("dtype", "fix"),
    [
        (torch.float16, "float16 ends at 65504: set compute.dtype to bfloat16 or float32; if that does not help"),
        (torch.bfloat16, "set compute.dtype to float32; if that does not help, check the model's weights"),
        (torch.float32, "Check the model's weights"),
    ],
)
def test_the_precision_to_try_is_named(dtype, fix):
    with pytest.raises(ValueError, match=rf"nan in the decoder \({str(dtype)[6:]}\); expected finite numbers. .*{fix}"):
        finite.check_network(torch.full((1, 2), torch.nan, dtype=dtype), "the decoder", dtype)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_no_array_with_such_a_number_is_saved(tmp_path, dtype, bad):
    values = np.zeros((4, 3, 5), dtype)
    values[2, 1, 1] = bad
    with pytest.raises(ValueError, match=rf"ridge/clip_vision_test\.h5, nsd_id 14: {bad} in what was computed"):
        hdf5.save(tmp_path / "ridge/clip_vision_test.h5", values, IDS)
    assert list((tmp_path / "ridge").iterdir()) == []


@pytest.mark.parametrize(
    ("where", "shape", "place", "nsd_id"),
    [
        (np.s_[2:4], (2, 6), (0, 1), 14),
        (np.s_[:, 1:3], (4, 2), (2, 1), 14),
        (np.s_[...], (4, 6), (1, 5), 7),
        (np.s_[3], (6,), (4,), 70000),
        ([0, 2], (2, 6), (1, 0), 14),
    ],
    ids=["rows", "columns", "all", "one row", "listed rows"],
)
@pytest.mark.parametrize("bad", [np.nan, 1e39])
def test_no_block_with_such_a_number_is_written(tmp_path, where, shape, place, nsd_id, bad):
    """1e39 is finite in float64, and not in the float32 of the file."""
    values = np.zeros(shape)
    values[place] = bad
    message = rf"out\.h5, nsd_id {nsd_id}: (nan|inf) in what was computed \(float32\)"
    with (
        pytest.raises(ValueError, match=message) as caught,
        hdf5.create(tmp_path / "out.h5", (4, 6), "f4", IDS) as stored,
    ):
        stored[where] = values
    assert ("It was 1e+39, and float32 ends at 3.40282e+38" in str(caught.value)) == (bad == 1e39)
    assert list(tmp_path.iterdir()) == []


def test_real_numbers_are_not_cut_to_levels(tmp_path):
    """A cast would make NaN black."""
    message = r"images\.h5, nsd_id 7: got float32, and the file holds uint8"
    with (
        pytest.raises(ValueError, match=message),
        hdf5.create(tmp_path / "images.h5", (4, 2, 2, 3), "u1", IDS, flatten=False) as images,
    ):
        images[1] = np.full((2, 2, 3), np.nan, np.float32)
    with pytest.raises((ValueError, TypeCheckError)):
        shards.save_images(tmp_path / "shard.h5", iter([(1, np.full((2, 2, 3), np.nan, np.float32))]), IDS[:1])
    with pytest.raises((ValueError, TypeCheckError)):
        image_files.write_folder(tmp_path / "recon", tmp_path / "m.tsv", [(1, np.full((2, 2, 3), np.nan))], "nsd")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", BAD)
def test_a_file_of_before_with_such_a_number_is_refused_as_it_is_read(tmp_path, bad):
    path = tmp_path / "clip_text_test.h5"
    hdf5.save(path, np.zeros((4, 3, 5), np.float32), IDS)
    with h5py.File(path, "r+") as file:
        file["values"][3, 7] = bad
    message = rf"clip_text_test\.h5, nsd_id 70000: {bad} in the file; expected finite numbers. Rerun its job: snakemake"
    for rows in (hdf5.ALL, slice(2, 4)):
        with pytest.raises(ValueError, match=message):
            hdf5.load(path, rows)
    assert len(hdf5.load(path, slice(0, 2)).values) == 2
    with pytest.raises(ValueError, match=r"gathered\.h5, nsd_id 70000"):
        shards.gather([path], [path], tmp_path / "gathered.h5")


def test_parts_of_shards_are_looked_at(tmp_path):
    part = {"alexnet_2": np.zeros((4, 3), np.float32)}
    shards.save_parts(tmp_path / "shard.h5", [part, part], IDS)
    with h5py.File(tmp_path / "shard.h5", "r+") as file:
        file["values"][1, 4] = np.nan
    with pytest.raises(ValueError, match=r"shard\.h5, nsd_id 7: nan in the file"):
        shards.load_parts([tmp_path / "shard.h5"], [tmp_path / "shard.h5"])


def test_what_was_not_measured_is_an_empty_cell_and_what_is_infinite_is_refused(tmp_path):
    rows = [("recon", np.nan, np.float32("nan"), 0.5), ("stage1", 1, np.float64(2), float("nan"))]
    tables.write_csv(tmp_path / "a.csv", ("images", "a", "b", "c"), rows)
    assert (tmp_path / "a.csv").read_text() == "images,a,b,c\nrecon,,,0.5\nstage1,1,2.0,\n"
    for bad in (np.inf, np.float32("-inf")):
        with pytest.raises(ValueError, match=r"b\.csv: mean is -?inf in the row of recon; expected a finite number"):
            tables.write_csv(tmp_path / "b.csv", ("images", "mean"), [("recon", bad)])
    assert not (tmp_path / "b.csv").exists()
    assert (tables.formatted(np.nan, ".3f"), tables.formatted(0.5, "+.2f")) == ("", "+0.50")


def test_the_mean_of_no_image_is_refused():
    with pytest.raises(ValueError, match="the mean of 0 images is none"):
        image_files.mean(iter([]))
