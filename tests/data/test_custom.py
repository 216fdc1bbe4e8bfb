"""A dataset in the plain layout: what is read from it, whatever betas are stored in."""

import h5py
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from toy_lab import N_TEST, N_TRAIN, SIDE, write_lab

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import adapter, averages, custom, custom_files, nifti


@pytest.fixture
def lab(tmp_path):
    return write_lab(tmp_path)


def averaged(lab, paths, zscore="none"):
    """Betas by stim_file."""
    trials, ids = custom_files.read_trials(lab.trials), custom_files.stimulus_ids(lab.stimuli)
    splits = custom_files.split_stimuli(trials, ids)
    selected = nifti.read_mask(lab.mask).selected
    blocks = custom_files.read_betas(paths, trials, selected, zscore)
    betas, ncsnr = averages.average_trials(blocks, len(trials), int(selected.sum()), splits)
    names = {number: name for name, number in ids.items()}
    return {
        names[number]: row for rows in betas.values() for number, row in zip(rows.nsd_id, rows.values, strict=True)
    }, ncsnr


def as_tables(lab, ending):
    """The betas as a table of trials by voxels."""
    table = lab.volumes()[nifti.read_mask(lab.mask).selected].T
    path = lab.root / f"betas{ending}"
    if ending == ".npy":
        np.save(path, table)
    else:
        with h5py.File(path, "w") as file:
            file["betas"] = table
    return [path]


def by_session(lab):
    """The betas in a file for each session."""
    volumes, sessions = lab.volumes(), [row["session"] for row in lab.rows()]
    for session in sorted(set(sessions)):
        chosen = [row for row, each in enumerate(sessions) if each == session]
        nib.Nifti1Image(volumes[..., chosen], np.eye(4)).to_filename(lab.root / f"ses-{session}_betas.nii.gz")
    return adapter.matching_files(lab.root / "ses-{session}_betas.nii.gz")


FORMS = {
    "one NIfTI": lambda lab: [lab.betas],
    "a NIfTI for each session": by_session,
    "NumPy": lambda lab: as_tables(lab, ".npy"),
    "HDF5": lambda lab: as_tables(lab, ".h5"),
}


@pytest.mark.parametrize("form", FORMS)
def test_betas_are_means_over_repeats_in_every_form(lab, form):
    betas, _ = averaged(lab, FORMS[form](lab))
    assert set(betas) == set(lab.means)
    for name, row in betas.items():
        np.testing.assert_allclose(row, lab.means[name], atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_z_score_within_sessions(lab, form):
    table = lab.volumes()[nifti.read_mask(lab.mask).selected].T.astype(np.float64)
    sessions = np.array([row["session"] for row in lab.rows()])
    for session in set(sessions):
        here = table[sessions == session]
        table[sessions == session] = (here - here.mean(0)) / here.std(0)
    betas, _ = averaged(lab, FORMS[form](lab), "session")
    for name, row in betas.items():
        expected = table[[each["stim_file"] == name for each in lab.rows()]].mean(0)
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_a_voxel_that_is_still_for_a_session_is_zero_there(lab):
    volumes = lab.volumes()
    volumes[0, 0, 0] = 7
    lab.write_volumes(volumes)
    betas, _ = averaged(lab, [lab.betas], "session")
    assert all(row[0] == 0 for row in betas.values())


def test_signal_to_noise_knows_repeats_from_noise(lab):
    volumes, rows = lab.volumes(), lab.rows()
    numbers = {name: number for number, name in enumerate(sorted({row["stim_file"] for row in rows}))}
    volumes[0, 0, 0] = [numbers[row["stim_file"]] for row in rows]
    volumes[0, 0, 0] += np.resize([0.01, -0.01, 0.02], len(rows))
    lab.write_volumes(volumes)
    _, ncsnr = averaged(lab, [lab.betas])
    assert ncsnr[0] > 100
    assert (ncsnr[1:] < 3).all()


def test_order_is_that_of_first_presentation_and_blanks_are_left_out(lab):
    trials, ids = custom_files.read_trials(lab.trials), custom_files.stimulus_ids(lab.stimuli)
    assert list(ids.values()) == list(range(N_TRAIN + N_TEST))
    splits = custom_files.split_stimuli(trials, ids)
    assert {split: len(stimuli.nsd_id) for split, stimuli in splits.items()} == {"train": N_TRAIN, "test": N_TEST}
    for split, stimuli in splits.items():
        shown = dict.fromkeys(ids[trial.stim_file] for trial in trials if trial.split == split)
        assert stimuli.nsd_id.tolist() == list(shown)
    used = np.sort(np.concatenate([each for stimuli in splits.values() for each in stimuli.trials]))
    assert used.tolist() == list(range(len(trials) - 1))


def test_ids_survive_their_table(lab):
    ids = custom_files.stimulus_ids(lab.stimuli)
    (lab.stimuli / "notes.txt").write_text("no image")
    assert custom_files.stimulus_ids(lab.stimuli) == ids
    custom.write_ids(lab.root / "ids.tsv", ids)
    assert custom.read_ids(lab.root / "ids.tsv") == ids


def test_images_are_copied_and_grey_ones_become_rgb(lab):
    grey = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    Image.fromarray(grey).save(lab.stimuli / "set/01.png")
    names = {number: name for name, number in custom_files.stimulus_ids(lab.stimuli).items()}
    custom_files.copy_images(lab.stimuli, lab.root / "stimuli.h5", np.array([4, 1], np.int32), names)
    copied = hdf5.load(lab.root / "stimuli.h5")
    assert copied.nsd_id.tolist() == [4, 1]
    np.testing.assert_array_equal(copied.values[0], np.asarray(Image.open(lab.stimuli / "set/04.png")))
    np.testing.assert_array_equal(copied.values[1], np.repeat(grey[..., None], 3, 2))


def test_captions_that_are_empty_do_not_count(lab):
    with open(lab.captions, "a", encoding="utf-8") as stream:
        stream.write("set/00.png\t \nset/00.png\tder zweite Satz, größer\n")
    assert custom_files.read_captions(lab.captions)["set/00.png"] == [
        "a pattern, set/00.png",
        "der zweite Satz, größer",
    ]


def test_without_a_mask_voxels_stand_in_a_line(lab):
    (path,) = as_tables(lab, ".npy")
    mask = custom_files.read_mask(None, custom_files.n_voxels(path))
    assert mask.selected.shape == (len(next(iter(lab.means.values()))), 1, 1)
    assert mask.selected.all()
