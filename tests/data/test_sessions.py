"""One session's betas: both formats give the same bits, in little memory, and damaged files are named."""

import gzip
import os
import tracemalloc

import h5py
import nibabel as nib
import numpy as np
import pytest
from nsd_tree import AFFINE

from brain_diffuser.data import nsd_sessions

SHAPE = (6, 5, 4)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def volume(rng):
    return rng.integers(-32768, 32768, (*SHAPE, 750)).astype(np.int16)


@pytest.fixture
def selected(rng):
    return rng.random(SHAPE) < 0.4


def write_nifti(path, volume):
    nib.Nifti1Image(volume, AFFINE).to_filename(path)
    return path


def write_hdf5(path, volume, **storage):
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=volume.T, **storage)
    return path


def rewrite(path, change):
    """Change the uncompressed bytes of a gzip file."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(change(content)))


def test_voxels_are_in_c_order_of_x_y_z(tmp_path, volume, selected):
    expected = nib.load(write_nifti(tmp_path / "s.nii.gz", volume)).get_fdata()[selected].T
    betas = nsd_sessions.read(tmp_path / "s.nii.gz", selected)
    assert betas.dtype == np.int16
    assert np.array_equal(betas, expected)
    first = np.argwhere(selected)[1]
    assert np.array_equal(betas[:, 1], volume[tuple(first)])


@pytest.mark.parametrize(
    "storage",
    [
        {"chunks": (750, 1, 1, 1)},
        {"chunks": None},
        {"chunks": (75, 3, 2, 4)},
        {"chunks": (400, 4, 5, 6), "compression": "gzip"},
    ],
)
def test_hdf5_equals_nifti_bit_by_bit_however_it_is_chunked(tmp_path, volume, selected, storage, monkeypatch):
    monkeypatch.setattr(nsd_sessions, "BLOCK_BYTES", 20_000)  # several reads per cell
    nifti = nsd_sessions.read(write_nifti(tmp_path / "s.nii.gz", volume), selected)
    hdf5 = nsd_sessions.read(write_hdf5(tmp_path / "s.hdf5", volume, **storage), selected)
    assert nifti.dtype == hdf5.dtype
    assert np.array_equal(nifti, hdf5)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">i2", "<f8"])
def test_other_types_and_byte_orders(tmp_path, volume, selected, dtype):
    other = volume.astype(dtype)
    image = nib.Nifti1Image(other, AFFINE, nib.Nifti1Header(endianness=dtype[0]))
    image.set_data_dtype(dtype)
    image.to_filename(tmp_path / "s.nii.gz")
    for path in (tmp_path / "s.nii.gz", write_hdf5(tmp_path / "s.hdf5", other)):
        betas = nsd_sessions.read(path, selected)
        assert betas.dtype == np.dtype(dtype).newbyteorder("=")
        assert np.array_equal(betas, volume[selected].T)


def test_header_scaling_is_applied(tmp_path, volume, selected):
    image = nib.Nifti1Image(volume, AFFINE)
    image.header.set_slope_inter(0.5, 3)
    image.to_filename(tmp_path / "s.nii.gz")
    betas = nsd_sessions.read(tmp_path / "s.nii.gz", selected)
    assert betas.dtype == np.float64
    assert np.array_equal(betas, volume[selected].T * 0.5 + 3)


def test_memory_is_that_of_masked_voxels(tmp_path):
    shape = (40, 40, 20)
    selected = np.zeros(shape, bool)
    selected[10:15, 20, 3] = True
    volume = np.zeros((*shape, 750), np.int16)  # 48 MB
    volume[10:15, 20, 3] = np.arange(5)[:, None]
    write_nifti(tmp_path / "s.nii.gz", volume)
    with h5py.File(tmp_path / "s.hdf5", "w") as file:
        betas = file.create_dataset("betas", (750, *shape[::-1]), "i2", chunks=(750, 1, 1, 1))
        for x in range(10, 15):
            betas[:, 3, 20, x] = volume[x, 20, 3]
    for name in ("s.nii.gz", "s.hdf5"):
        tracemalloc.start()
        nsd_sessions.read(tmp_path / name, selected)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2e6, name


def test_sessions_are_found_in_order_and_in_the_asked_format(tmp_path):
    for name in ("01.nii.gz", "02.nii.gz", "02.hdf5", "03.nii.gz"):
        (tmp_path / f"betas_session{name}").touch()
    (tmp_path / "betas_session_mean.nii.gz").touch()

    def names(*arguments):
        return [path.name.removeprefix("betas_session") for path in nsd_sessions.find(tmp_path, *arguments)]

    assert names() == ["01.nii.gz", "02.hdf5", "03.nii.gz"]
    assert names("all", "nifti") == ["01.nii.gz", "02.nii.gz", "03.nii.gz"]
    assert names(2, "nifti") == ["01.nii.gz", "02.nii.gz"]
    with pytest.raises(FileNotFoundError, match=r"lacks betas_session01.hdf5; expected every session from 1 to 2"):
        names("all", "hdf5")
    with pytest.raises(FileNotFoundError, match=r"lacks betas_session04.hdf5 or betas_session04.nii.gz; .* 1 to 5"):
        names(5)
    (tmp_path / "betas_session05.hdf5").touch()
    with pytest.raises(FileNotFoundError, match=r"lacks betas_session04.hdf5 or betas_session04.nii.gz; .* 1 to 5"):
        names()
    assert names([5, 2, 2, 3]) == ["02.hdf5", "03.nii.gz", "05.hdf5"]
    assert [nsd_sessions.number(path) for path in nsd_sessions.find(tmp_path, [5, 2])] == [2, 5]
    with pytest.raises(FileNotFoundError, match=r"lacks betas_session04.*; expected all that are listed"):
        names([3, 4])
    with pytest.raises(FileNotFoundError, match=r"lacks betas_session01.hdf5 or"):
        nsd_sessions.find(tmp_path / "nowhere")


def test_sessions_to_fetch_are_named_as_they_will_be(tmp_path):
    for name in ("01.nii.gz", "02.nii.gz", "02.hdf5"):
        (tmp_path / f"betas_session{name}").touch()

    def names(*arguments):
        return [
            path.name.removeprefix("betas_session") for path in nsd_sessions.find(tmp_path, *arguments, published=4)
        ]

    assert names() == ["01.nii.gz", "02.hdf5", "03.hdf5", "04.hdf5"]
    assert names("all", "nifti") == ["01.nii.gz", "02.nii.gz", "03.nii.gz", "04.nii.gz"]
    assert names(3, "hdf5") == ["01.hdf5", "02.hdf5", "03.hdf5"]
    assert names(1) == ["01.nii.gz"]
    with pytest.raises(FileNotFoundError, match=r"lacks betas_session05.* 1 to 5. NSD publishes 4: set nsd.sessions."):
        names(5)
    assert nsd_sessions.PUBLISHED[2] == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("all", "mgh"), "nsd.format must be one of hdf5, nifti, auto, got 'mgh'"),
        (([1, 0],), 'nsd.sessions must be "all", a number from 1 or a list of them, got .1, 0.'),
        ((0,), 'nsd.sessions must be "all", a number from 1 or a list of them, got 0'),
        (("37",), "nsd.sessions must be \"all\", a number from 1 or a list of them, got '37'"),
    ],
)
def test_unknown_words(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        nsd_sessions.find(tmp_path, *arguments)


def test_damaged_nifti(tmp_path, volume, selected):
    path = write_nifti(tmp_path / "s.nii.gz", volume)
    whole = path.read_bytes()

    def refused(message):
        with pytest.raises(ValueError, match=message):
            nsd_sessions.read(path, selected)

    path.write_bytes(whole[: len(whole) // 2])
    refused(r"s.nii.gz cannot be read \(Compressed file ended.*\). Download it again.")
    path.write_bytes(whole[:40])
    refused(r"s.nii.gz cannot be read as NIfTI \(.*\). Download it again.")
    path.write_bytes(b"<Error>AccessDenied</Error>")
    refused(r"s.nii.gz cannot be read as NIfTI")
    path.write_bytes(whole[:-8] + bytes(4) + whole[-4:])
    refused(r"s.nii.gz cannot be read \(CRC check failed")
    path.write_bytes(whole)
    rewrite(path, lambda content: content[: -SHAPE[0] * 5 * 4 * 2 * 3 - 1])
    refused(r"s.nii.gz cannot be read \(it ends within trial 746 of 750\)")
    path.write_bytes(whole)
    rewrite(path, lambda content: content + bytes(2))
    refused(r"s.nii.gz cannot be read \(it goes on after 750 trials\)")


def test_damaged_hdf5(tmp_path, volume, selected):
    path = write_hdf5(tmp_path / "s.hdf5", volume, chunks=(750, 1, 1, 1), compression="gzip")

    def refused(message):
        with pytest.raises(ValueError, match=message):
            nsd_sessions.read(path, selected)

    z, y, x = np.argwhere(selected)[0][::-1]
    with h5py.File(path) as file:
        place = file["betas"].id.get_chunk_info_by_coord((0, z, y, x)).byte_offset
    with open(path, "r+b") as stream:
        stream.seek(place)
        stream.write(bytes(100))
    refused(r"s.hdf5 cannot be read \(.*\). Download it again.")
    os.truncate(path, 5000)
    refused(r"s.hdf5 cannot be read as HDF5 \(truncated file.*\); it may be cut short. Download it again.")
    path.write_bytes(b"<Error>AccessDenied</Error>")
    refused(r"s.hdf5 cannot be read as HDF5 \(file signature not found\)")
    with h5py.File(path, "w") as file:
        file["beta"] = volume
    refused(r"s.hdf5 lacks a dataset betas of \(trials, z, y, x\)")
    write_hdf5(path, volume[..., 0])
    refused(r"s.hdf5 lacks a dataset betas of \(trials, z, y, x\)")


def test_sessions_that_are_not_what_was_expected(tmp_path, volume, selected):
    def refused(stored, message, mask=selected):
        for path in (write_nifti(tmp_path / "s.nii.gz", stored), write_hdf5(tmp_path / "s.hdf5", stored)):
            with pytest.raises(ValueError, match=message):
                nsd_sessions.read(path, mask, "roi/nsdgeneral.nii.gz")

    refused(volume[..., :749], r"s.(nii.gz|hdf5) has 749 trials; expected 750 per session.")
    refused(volume.astype(np.int32), r"s.(nii.gz|hdf5) stores int32; expected one of int16, float32, float64.")
    refused(
        volume,
        r"s.(nii.gz|hdf5) has volumes of \(6, 5, 4\), roi/nsdgeneral.nii.gz \(4, 5, 6\); expected one grid. "
        "Is the mask another subject's",
        np.ones(SHAPE[::-1], bool),
    )
    broken = volume.astype(np.float32)
    x, y, z = np.argwhere(selected)[3]
    broken[x, y, z, 12:14] = np.nan, np.inf
    refused(
        broken,
        rf"s.(nii.gz|hdf5) has 2 masked values that are not finite; the first is nan in trial 12, "
        rf"voxel \({x}, {y}, {z}\)",
    )
    with pytest.raises(ValueError, match=r"s.nii.gz has shape \(6, 5, 4\); expected \(x, y, z, trials\)"):
        nsd_sessions.read(write_nifti(tmp_path / "s.nii.gz", volume[..., 0]), selected)
