"""GLMsingle's own files: three layouts of the same betas, and everything that is wrong with one gets its sentence."""

import re
import subprocess
import sys

import bids_tree
import h5py
import numpy as np
import pytest

from brain_diffuser.data import bids_files, custom_files, glmsingle

SHAPE, N_TRIALS = (7, 5, 4), 23


@pytest.fixture
def betas():
    return np.random.default_rng(0).normal(size=(*SHAPE, N_TRIALS)).astype(np.float32)


@pytest.fixture
def selected():
    return np.random.default_rng(1).random(SHAPE) < 0.4


def read(path, selected):
    with glmsingle.opening(path) as volumes:
        assert volumes.n_trials == N_TRIALS
        return np.concatenate(list(volumes.blocks(selected)))


@pytest.mark.parametrize("block_bytes", [1, 2000, 9000, 2**29])
@pytest.mark.parametrize(
    ("name", "write", "options"),
    [
        ("TYPED_FITHRF_GLMDENOISE_RR.hdf5", bids_tree.write_python, {}),
        ("a.h5", bids_tree.write_python, {"chunks": (2, 3, 4, 6), "compression": "gzip"}),
        ("TYPED_FITHRF_GLMDENOISE_RR.mat", bids_tree.write_matlab, {}),
        ("b.mat", bids_tree.write_matlab, {"chunks": (5, 2, 5, 3), "compression": "gzip"}),
    ],
)
def test_all_layouts_give_the_same_betas_in_c_order(
    tmp_path, monkeypatch, betas, selected, name, write, options, block_bytes
):
    monkeypatch.setattr(glmsingle, "BLOCK_BYTES", block_bytes)
    write(tmp_path / name, betas, **options)
    assert glmsingle.wrote(tmp_path / name)
    found = read(tmp_path / name, selected)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, betas[selected].T)


def test_blocks_are_whole_chunks_of_trials_within_the_bound(tmp_path, monkeypatch, betas, selected):
    bids_tree.write_python(tmp_path / "a.hdf5", betas, chunks=(2, 5, 4, 6))
    monkeypatch.setattr(glmsingle, "BLOCK_BYTES", 13 * 4 * (int(selected.sum()) + 2 * 5 * 4))
    with glmsingle.opening(tmp_path / "a.hdf5") as volumes:
        assert [len(block) for block in volumes.blocks(selected)] == [12, 11]


@pytest.mark.parametrize("write", [bids_tree.write_python, bids_tree.write_matlab])
def test_units_by_time_are_a_table(tmp_path, betas, selected, write):
    path = tmp_path / "a.mat"
    flat = betas.reshape(-1, 1, 1, N_TRIALS)
    if write is bids_tree.write_python:
        path = path.with_suffix(".hdf5")
    write(path, flat)
    mask = bids_files.read_mask(None, path)
    assert mask.selected.shape == (betas[..., 0].size, 1, 1)
    np.testing.assert_array_equal(read(path, np.ones(SHAPE, bool)), flat[:, 0, 0].T)


def test_float64_and_fixed_memory_layouts_become_float32(tmp_path, betas, selected):
    bids_tree.write_python(tmp_path / "a.hdf5", betas.astype(np.float64))
    np.testing.assert_array_equal(read(tmp_path / "a.hdf5", selected), betas[selected].T)


def test_sessions_of_one_file_are_zscored_apart(tmp_path, betas, selected):
    bids_tree.write_python(tmp_path / "a.hdf5", betas)
    sessions = ["1"] * 9 + ["2"] * 14
    trials = [custom_files.Trial("a.png", session, "1", "1", "train") for session in sessions]
    found = np.concatenate(list(bids_files.read_betas([tmp_path / "a.hdf5"], trials, selected, "session")))
    rows = betas[selected].T.astype(np.float64)
    for part in (slice(0, 9), slice(9, None)):
        expected = (rows[part] - rows[part].mean(0)) / rows[part].std(0)
        np.testing.assert_allclose(found[part], expected, atol=1e-5)


def test_plain_files_of_betas_are_not_glmsingles(tmp_path):
    np.save(tmp_path / "betas.npy", np.zeros((4, 3), np.float32))
    with h5py.File(tmp_path / "betas.h5", "w") as file:
        file["betas"] = np.ones((4, 3))
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    for name in ("betas.npy", "betas.h5", "broken.h5", "betas.nii.gz", "absent.npy", "absent.hdf5"):
        assert not glmsingle.wrote(tmp_path / name)


def pickled(path, betas):
    np.save(path.with_suffix(".npy"), {"betasmd": betas}, allow_pickle=True)
    return path.with_suffix(".npy")


def cut_short(path, betas):
    bids_tree.write_python(path, betas)
    path.write_bytes(path.read_bytes()[:-3000])
    return path


def older_matlab(path, betas):
    path = path.with_suffix(".mat")
    path.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x01IM" + bytes(64))
    return path


def type_a(path, betas):
    bids_tree.write_python(path, betas[..., 0])
    return path


def type_a_of_matlab(path, betas):
    path = path.with_suffix(".mat")
    bids_tree.write_matlab(path, betas)
    with h5py.File(path, "r+") as file:
        del file["modelmd"]
        file["modelmd"] = file["pcregressors"][()]
    return path


def without_betas(path, betas):
    bids_tree.write_python(path, betas)
    with h5py.File(path, "r+") as file:
        del file["betasmd"]
    return path


def never_written(path, betas):
    bids_tree.write_python(path, betas)
    with h5py.File(path, "r+") as file:
        del file["betasmd"]
        file.create_dataset("betasmd", betas.shape, np.float32, chunks=(*SHAPE, 10))[..., :10] = betas[..., :10]
    return path


def empty(path, betas):
    path.write_bytes(b"")
    return path


def of_git_annex(path, betas):
    path.write_text("/annex/objects/MD5E-s1--0.hdf5\n")
    return path


def complex_numbers(path, betas):
    bids_tree.write_python(path, betas.astype(np.complex64))
    return path


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (pickled, "is a dictionary that numpy.save has pickled, and unpickling runs whatever program a file names"),
        (cut_short, "cannot be read as HDF5 .*truncated.* Copy it again"),
        (older_matlab, "is a MATLAB file of version 5 to 7; expected 7.3, .*save it in MATLAB with -v7.3"),
        (type_a, r"betasmd is float32 of shape \(7, 5, 4\); expected .*type A has one beta for all trials"),
        (type_a_of_matlab, "modelmd is a cell array; expected .*type A has one beta for all trials"),
        (without_betas, "lacks a dataset betasmd or modelmd; it has FRACvalue, HRFindex, .*give GLMsingle's TYPED_"),
        (never_written, r"betasmd was never written from voxel \(0, 0, 0\) on in trial 10 \(from 0\)"),
        (empty, r"is empty \(0 bytes\)"),
        (of_git_annex, "is a pointer of git-annex"),
        (complex_numbers, "betasmd is complex64 of shape"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, betas, damage, sentence):
    path = damage(tmp_path / "TYPED_FITHRF_GLMDENOISE_RR.hdf5", betas)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}:? {sentence}") as raised, glmsingle.opening(path):
        pass
    assert "\n" not in str(raised.value)


def test_the_two_lines_convert_what_is_pickled(tmp_path, betas, selected):
    path = pickled(tmp_path / "TYPED_FITHRF_GLMDENOISE_RR.hdf5", betas)
    assert glmsingle.wrote(path)
    lines = glmsingle.pickled(path).partition("two lines of Python: ")[2].split(" and ")
    assert len(lines) == 2
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(read(path.with_suffix(".hdf5"), selected), betas[selected].T)


def test_no_pickle_is_ever_run(tmp_path):
    """A file whose unpickling would write another one."""
    marker = tmp_path / "ran"
    program = (
        "import numpy, pathlib\n"
        f"marker = pathlib.Path({str(marker)!r})\n"
        "class Runs:\n"
        "    def __reduce__(self):\n"
        "        return pathlib.Path.touch, (marker,)\n"
    )
    path = tmp_path / "TYPED_FITHRF_GLMDENOISE_RR.npy"
    save = f"numpy.save({str(path)!r}, {{'betasmd': Runs()}}, allow_pickle=True)"
    subprocess.run([sys.executable, "-c", program + save], check=True)
    assert glmsingle.wrote(path)
    with pytest.raises(ValueError, match="pickled"), glmsingle.opening(path):
        pass
    assert not marker.exists()
    np.load(path, allow_pickle=True)
    assert marker.exists()


def test_a_plain_dataset_names_the_adapter_that_reads_glmsingles_files(tmp_path, betas):
    bids_tree.write_python(tmp_path / "a.hdf5", betas)
    bids_tree.write_matlab(tmp_path / "a.mat", betas)
    for path in (tmp_path / "a.hdf5", tmp_path / "a.mat", pickled(tmp_path / "b.npy", betas)):
        with pytest.raises(ValueError, match="adapter: bids"), custom_files.opening(path):
            pass


def test_volumes_without_a_mask_are_refused(tmp_path, betas):
    bids_tree.write_python(tmp_path / "a.hdf5", betas)
    with pytest.raises(ValueError, match="has volumes, and mask is none; expected a mask on the same grid"):
        bids_files.read_mask(None, tmp_path / "a.hdf5")
