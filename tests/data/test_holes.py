"""Numbers that were never measured or written read as zeros: every such trial, image, chunk and source is named."""

import os

import h5py
import nibabel as nib
import numpy as np
import pytest
from nsd_tree import toy_ids, write_session, write_tree
from PIL import Image
from test_custom import averaged
from toy_lab import write_lab

from brain_diffuser.data import custom_checks, custom_files, hdf5_storage, nifti, nsd_design, nsd_sessions

HALF = 13
SHAPE = (6, 5, 4)


@pytest.fixture
def lab(tmp_path):
    return write_lab(tmp_path)


@pytest.fixture
def table(lab):
    return lab.volumes()[nifti.read_mask(lab.mask).selected].T


@pytest.fixture
def volume():
    return np.random.default_rng(0).integers(-3000, 3000, (*SHAPE, 750)).astype(np.int16)


@pytest.fixture
def selected():
    selected = np.zeros(SHAPE, bool)
    selected[1:5, 1:4, 1:3] = True
    return selected


def problems(lab, *betas, **checks):
    files = custom_files.SubjectFiles("sub01", lab.trials, betas or (lab.betas,), lab.mask, {})
    return list(custom_checks.problems([files], lab.stimuli, lab.captions, custom_checks.Checks(**checks)))


def chunks_by_trial(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_dataset("betas", table.shape, table.dtype, chunks=(5, table.shape[1]))[:10] = table[:10]


def chunks_by_voxel(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        betas = file.create_dataset("betas", table.shape, table.dtype, chunks=(len(table), 1), compression="gzip")
        betas[:, :-1] = table[:, :-1]


def one_chunk_in_the_middle(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        betas = file.create_dataset("betas", table.shape, table.dtype, chunks=(5, 2))
        for first in range(0, len(table), 5):
            for column in range(0, table.shape[1], 2):
                if (first, column) != (10, 4):
                    betas[first : first + 5, column : column + 2] = table[first : first + 5, column : column + 2]


def in_one_piece_never(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_dataset("betas", table.shape, table.dtype)


def in_one_piece_half(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_dataset("betas", table.shape, table.dtype)[:HALF] = table[:HALF]


def filled_with_another_number(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_dataset("betas", table.shape, table.dtype, chunks=(1, table.shape[1]), fillvalue=7)[:HALF] = table[
            :HALF
        ]


def write_virtual(folder, table, n_sources=2, of_last=slice(None)):
    layout = h5py.VirtualLayout(table.shape, table.dtype)
    for number, rows in enumerate(np.array_split(np.arange(len(table)), n_sources)):
        part = table[rows]
        with h5py.File(folder / f"{number}.h5", "w") as file:
            file["x"] = part if number < n_sources - 1 else part[of_last]
        layout[rows[0] : rows[-1] + 1] = h5py.VirtualSource(f"{number}.h5", "x", part.shape)
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_virtual_dataset("betas", layout)


def a_source_gone(folder, table):
    write_virtual(folder, table)
    (folder / "1.h5").unlink()


def a_source_without_its_dataset(folder, table):
    write_virtual(folder, table)
    with h5py.File(folder / "1.h5", "w") as file:
        file["y"] = table


def a_source_too_short(folder, table):
    write_virtual(folder, table, of_last=slice(5))


def a_source_with_a_hole(folder, table):
    write_virtual(folder, table)
    with h5py.File(folder / "1.h5", "w") as file:
        file.create_dataset("x", (HALF, table.shape[1]), table.dtype, chunks=(1, table.shape[1]))[:4] = table[:4]


def a_source_that_is_no_hdf5(folder, table):
    write_virtual(folder, table)
    (folder / "1.h5").write_bytes(b"x" * 4000)


def a_source_of_a_source_gone(folder, table):
    write_virtual(folder, table)
    (folder / "b.h5").rename(folder / "inner.h5")
    layout = h5py.VirtualLayout(table.shape, table.dtype)
    layout[:] = h5py.VirtualSource("inner.h5", "betas", table.shape)
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_virtual_dataset("betas", layout)
    (folder / "0.h5").unlink()


def a_part_of_no_source(folder, table):
    layout = h5py.VirtualLayout(table.shape, table.dtype)
    with h5py.File(folder / "0.h5", "w") as file:
        file["x"] = table
    layout[:20] = h5py.VirtualSource("0.h5", "x", table.shape)[:20]
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_virtual_dataset("betas", layout)


def made_of_itself(folder, table):
    layout = h5py.VirtualLayout(table.shape, table.dtype)
    layout[:] = h5py.VirtualSource(".", "betas", table.shape)
    with h5py.File(folder / "b.h5", "w") as file:
        file.create_virtual_dataset("betas", layout)


def write_external(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        raw = [(str(folder / "raw.bin"), 0, table.nbytes)]
        file.create_dataset("betas", table.shape, table.dtype, external=raw)[...] = table


def raw_file_gone(folder, table):
    write_external(folder, table)
    (folder / "raw.bin").unlink()


def raw_file_cut(folder, table):
    write_external(folder, table)
    os.truncate(folder / "raw.bin", table.nbytes // 2)


def link_to_a_file_that_is_gone(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        file["betas"] = h5py.ExternalLink("gone.h5", "/x")


def link_to_nothing(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        file["betas"] = h5py.SoftLink("/gone")


def link_in_a_circle(folder, table):
    with h5py.File(folder / "b.h5", "w") as file:
        file["betas"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/betas")


HOLES = {
    chunks_by_trial: "betas was never written from trial 10 (from 0), voxel 0 on",
    chunks_by_voxel: "betas was never written from trial 0 (from 0), voxel",
    one_chunk_in_the_middle: "betas was never written from trial 10 (from 0), voxel 4 on",
    in_one_piece_never: "betas was never written from trial 0 (from 0), voxel 0 on, and reads as 0",
    in_one_piece_half: "the first 0 in trial 13 (from 0), as where nothing was measured or written; write them",
    filled_with_another_number: "from trial 13 (from 0), voxel 0 on, and reads as 7.0",
    a_source_gone: "betas takes numbers from 1.h5, which is missing; put that file back",
    a_source_without_its_dataset: "takes numbers from x in",
    a_source_too_short: "and lacks a part of them",
    a_source_with_a_hole: "which was never written at [4, 0]",
    a_source_that_is_no_hdf5: "1.h5, which cannot be opened",
    a_source_of_a_source_gone: "inner.h5: betas takes numbers from 0.h5, which is missing",
    a_part_of_no_source: "numbers from other files, the others from none",
    made_of_itself: "which is made of the dataset itself",
    raw_file_gone: "raw.bin, which is missing; put the whole file back",
    raw_file_cut: "bytes instead of",
    link_to_a_file_that_is_gone: "betas is a link to /x in gone.h5, which cannot be read; put that file back",
    link_to_nothing: "betas is a link to /gone, which is not in the file",
    link_in_a_circle: "which leads back to itself",
}


@pytest.mark.parametrize("hole", HOLES)
def test_holes_of_hdf5_betas(lab, table, hole):
    hole(lab.root, table)
    path = lab.root / "b.h5"
    (sentence,) = problems(lab, path)
    assert sentence.startswith(str(lab.root))
    assert HOLES[hole] in sentence
    if hole is not in_one_piece_half:  # only its numbers tell
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            averaged(lab, [path])
        assert str(raised.value) == sentence


@pytest.mark.parametrize("write", [write_virtual, write_external])
def test_whole_sources_are_sound(lab, table, write):
    write(lab.root, table)
    assert problems(lab, lab.root / "b.h5") == []
    read = averaged(lab, [lab.root / "b.h5"])[0]
    for name, row in averaged(lab, [lab.betas])[0].items():
        assert np.array_equal(read[name], row)


def test_a_link_and_a_source_by_an_absolute_path_are_followed(lab, table):
    with h5py.File(lab.root / "0.h5", "w") as file:
        file["x"] = table
    layout = h5py.VirtualLayout(table.shape, table.dtype)
    layout[:] = h5py.VirtualSource(str(lab.root / "0.h5"), "x", table.shape)
    with h5py.File(lab.root / "v.h5", "w") as file:
        file.create_virtual_dataset("inner", layout)
        file["inner chunks"] = h5py.ExternalLink("0.h5", "/x")
    with h5py.File(lab.root / "b.h5", "w") as file:
        file["betas"] = h5py.ExternalLink("v.h5", "/inner")
    assert problems(lab, lab.root / "b.h5") == []


def never_filled(lab, table, value=0.0):
    path = lab.root / "b.npy"
    memory = np.lib.format.open_memmap(path, "w+", table.dtype, table.shape)
    memory[:HALF] = table[:HALF]
    memory[HALF:] = value
    memory.flush()
    return path


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_table_whose_second_half_was_never_filled(lab, table, value):
    (sentence,) = problems(lab, never_filled(lab, table, value))
    assert f"b.npy has 12 trials that are one number in all {table.shape[1]} voxels of the mask, the first" in sentence
    assert "in trial 13 (from 0), as where nothing was measured or written" in sentence


@pytest.mark.parametrize("trials", [[0], [25 - 1], range(HALF, 26), range(3, 9)])
@pytest.mark.parametrize("form", [".nii", ".nii.gz"])
def test_volumes_of_zeros(lab, trials, form):
    volumes = lab.volumes().copy()
    volumes[..., list(trials)] = 0
    path = lab.root / f"b{form}"
    nib.Nifti1Image(volumes, np.diag([2.0, 2, 2, 1])).to_filename(path)
    (sentence,) = problems(lab, path)
    n_used = len([trial for trial in trials if trial < 25])  # the last is a blank
    assert f"has {n_used} trials that are one number" in sentence
    assert f"the first 0 in trial {trials[0]} (from 0)" in sentence


def test_constant_voxels_elsewhere_do_not_hide_a_volume_of_zeros(lab):
    volumes = lab.volumes().copy()
    volumes[:3] = 0
    volumes[..., 7] = 0
    lab.write_volumes(volumes)
    (sentence,) = problems(lab, constant_voxels="drop")
    assert "1 trials that are one number" in sentence


def test_a_trial_that_no_split_uses_may_be_zero(lab):
    before = averaged(lab, [lab.betas], "session")[0]
    rows, volumes = lab.rows(), lab.volumes().copy()
    assert rows[-1]["split"] == "n/a"
    volumes[..., -1] = 0
    lab.write_volumes(volumes)
    assert problems(lab) == []
    after = averaged(lab, [lab.betas], "session")[0]
    assert any(not np.array_equal(after[name], row) for name, row in before.items())
    lab.write_rows(rows[:-1])
    lab.write_volumes(volumes[..., :-1])
    without = averaged(lab, [lab.betas], "session")[0]
    for name, row in without.items():
        np.testing.assert_allclose(after[name], row, atol=1e-6)  # it does not count for the z-score


def test_zeros_that_belong_there_are_sound(lab):
    volumes = lab.volumes().copy()
    volumes[0, 0, 0, ::2] = 0
    lab.write_volumes(volumes)
    assert problems(lab) == []


@pytest.mark.parametrize("form", ["nii.gz", "hdf5"])
@pytest.mark.parametrize("trials", [range(375, 750), [0], [749]])
def test_trials_of_nsd_that_were_never_written(tmp_path, volume, selected, form, trials):
    tree = write_tree(tmp_path / "tree", image_size=8)
    volume[..., list(trials)] = 0
    write_session(tree, 1, volume)
    message = rf"has {len(trials)} trials that are 0 in all 24 masked voxels, the first trial {trials[0]} \(from 0\)"
    with pytest.raises(ValueError, match=message):
        nsd_sessions.read(tree.session(1, form), selected)


@pytest.mark.parametrize(
    ("chunks", "part", "hole"),
    [
        ((750, 1, 1, 1), np.s_[:, 2, 2, 3], r"trial 0 \(from 0\), voxel \(3, 2, 2\)"),
        ((250, 4, 5, 6), np.s_[500:], r"trial 500 \(from 0\), voxel \(0, 0, 0\)"),
        ((50, 2, 5, 6), np.s_[100:150, 2:], r"trial 100 \(from 0\), voxel \(0, 0, 2\)"),
    ],
)
def test_chunks_of_nsd_that_were_never_written(tmp_path, volume, selected, chunks, part, hole):
    path = tmp_path / "s.hdf5"
    stored = volume.T
    with h5py.File(path, "w") as file:
        betas = file.create_dataset("betas", stored.shape, stored.dtype, chunks=chunks)
        missing = np.zeros(stored.shape, bool)
        missing[part] = True
        for chunk in np.ndindex(*(-(-size // step) for size, step in zip(stored.shape, chunks, strict=True))):
            place = tuple(slice(at * step, (at + 1) * step) for at, step in zip(chunk, chunks, strict=True))
            if not missing[place].all():
                betas[place] = stored[place]
    message = rf"the chunk of betas at {hole} has masked voxels and was never written. Download it again."
    with pytest.raises(ValueError, match=message):
        nsd_sessions.read(path, selected)


def test_chunks_of_nsd_outside_of_the_mask_may_be_missing(tmp_path, volume, selected):
    path = tmp_path / "s.hdf5"
    with h5py.File(path, "w") as file:
        betas = file.create_dataset("betas", volume.T.shape, volume.dtype, chunks=(750, 1, 1, 1))
        for x, y, z in np.argwhere(selected):
            betas[:, z, y, x] = volume[x, y, z]
    assert np.array_equal(nsd_sessions.read(path, selected), volume[selected].T)


def test_a_voxel_of_nsd_that_is_constant_in_a_session_is_said(tmp_path, volume, selected, caplog):
    volume[2, 2, 2] = 0
    nib.Nifti1Image(volume, np.eye(4)).to_filename(tmp_path / "s.nii.gz")
    nsd_sessions.read(tmp_path / "s.nii.gz", selected)
    assert "s.nii.gz has 1 masked voxels that are constant in all of its trials" in caplog.text


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)


def stimulus_file(folder, **storage):
    path = folder / "nsd_stimuli.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("imgBrick", **storage)
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda images: images[5:], "the image of nsd_id 6 is 0 everywhere, as where nothing was written"),
        (lambda images: images[6:7], "the image of nsd_id 6 is 0 everywhere"),
        (lambda images: (images[6, 5:], images[7:]), "the image of nsd_id 6 ends in rows of zeros, and the file has"),
    ],
)
def test_images_of_a_stimulus_file_in_one_piece(tmp_path, images, damage, message):
    parts = damage(images)
    for part in parts if isinstance(parts, tuple) else (parts,):
        part[...] = 0
    path = stimulus_file(tmp_path, data=images)
    with pytest.raises(ValueError, match=message):
        nsd_design.copy_stimuli(path, tmp_path / "s.h5", np.array([2, 6], np.int32))
    nsd_design.copy_stimuli(path, tmp_path / "s.h5", np.array([2, 4], np.int32))


def test_chunks_of_a_part_of_an_image(tmp_path, images):
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        stored = file.create_dataset("imgBrick", images.shape, np.uint8, chunks=(2, 4, 8, 3))
        stored[:, :4] = images[:, :4]
        stored[:6] = images[:6]
    with pytest.raises(ValueError, match="lacks the image of nsd_id 7"):
        nsd_design.copy_stimuli(tmp_path / "f.hdf5", tmp_path / "s.h5", np.array([2, 7], np.int32))


def test_a_virtual_stimulus_file_with_a_lost_source(tmp_path, images):
    layout = h5py.VirtualLayout(images.shape, np.uint8)
    layout[:] = h5py.VirtualSource("part.h5", "x", images.shape)
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file.create_virtual_dataset("imgBrick", layout)
    with pytest.raises(ValueError, match=r"imgBrick takes numbers from part.h5, which is missing"):
        nsd_design.copy_stimuli(tmp_path / "f.hdf5", tmp_path / "s.h5", np.array([2], np.int32))


@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), 0])
def test_an_image_of_one_colour(lab, colour):
    name = "set/03.png"
    mode = "L" if colour == 0 else "RGB"
    with Image.open(lab.stimuli / name) as image:
        Image.new(mode, image.size, colour).save(lab.stimuli / name)
    (sentence,) = problems(lab)
    assert f"{name} is one colour everywhere, {colour}; expected what was shown" in sentence


def test_the_toys_own_images_are_sound(tmp_path):
    tree = write_tree(tmp_path, n_train=3, n_test=2, image_size=8)
    nsd_design.copy_stimuli(tree.stimulus_file, tmp_path / "s.h5", np.array(toy_ids(n_train=3, n_test=2), np.int32))
    with h5py.File(tree.stimulus_file) as file:
        assert hdf5_storage.Written(file["imgBrick"]).first_hole() is not None
