"""Betas of any number of trials: scaling, NaN, z-scores; NSD's own numbers come out to the bit."""

import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nsd_tree import write_tree

from benchmarks import laion_betas
from brain_diffuser.data import nifti, nsd_design, nsd_sessions, stimulus_table, trial_betas
from brain_diffuser.data.trial_betas import Rules, Session

SHAPE, AFFINE = (4, 3, 2), np.eye(4)
MASK = nifti.Mask(Path("mask.nii.gz"), np.ones(SHAPE, bool), AFFINE)
N_TRIALS = (7, 100, 31)
N_ALL = sum(N_TRIALS)


@pytest.fixture
def sessions(tmp_path):
    """Three sessions of different length, and their betas (trials, voxels)."""
    rng = np.random.default_rng(0)
    betas = [rng.normal(3, 2, (n, 24)).astype(np.float32) for n in N_TRIALS]
    return [write(tmp_path / f"{n}.nii.gz", each) for n, each in enumerate(betas)], betas


def write(path, betas, n_runs=2):
    volumes = betas.T.reshape(*SHAPE, len(betas))
    nib.Nifti1Image(volumes, AFFINE).to_filename(path)
    return Session(path, [str(n_runs * row // len(betas)) for row in range(len(betas))])


def splits(n_trials=N_ALL):
    """Every stimulus twice; every third is a test stimulus."""
    stimulus = np.arange(n_trials, dtype=np.int32) % (n_trials // 2)
    rows = np.arange(n_trials)
    chosen = {"train": rows[stimulus % 3 > 0], "test": rows[stimulus % 3 == 0]}
    return {name: stimulus_table.group_trials(stimulus, each) for name, each in chosen.items()}


def means(trials):
    """The mean of each stimulus by its id."""
    return {
        name: np.stack([trials[rows].mean(0, dtype=np.float64) for rows in each.trials])
        for name, each in splits().items()
    }


def zscored(betas, groups):
    found = betas.astype(np.float64)
    for known, changed in groups:
        found[changed] = (found[changed] - found[known].mean(0)) / found[known].std(0)
    return found


@pytest.mark.parametrize("zscore", trial_betas.ZSCORES)
def test_zscores_within_sessions_runs_and_training_trials(sessions, zscore):
    files, betas = sessions
    is_train = np.zeros(N_ALL, bool)
    is_train[np.concatenate(splits()["train"].trials)] = True
    expected, done = [], 0
    for session, each in zip(files, betas, strict=True):
        rows, runs = np.arange(len(each)), np.array(session.runs)
        known = rows[is_train[done : done + len(each)]]
        groups = {
            "none": [],
            "session": [(rows, rows)],
            "run": [(rows[runs == run],) * 2 for run in set(session.runs)],
            "train": [(known, rows)],
        }[zscore]
        expected.append(zscored(each, groups))
        done += len(each)
    found = trial_betas.average_betas(files, MASK, splits(), Rules(zscore=zscore))
    for name, of in means(np.concatenate(expected)).items():
        np.testing.assert_allclose(found.betas[name].values, of, atol=1e-6)
    assert found.unit == trial_betas.ZSCORES[zscore]
    assert found.mask.selected.all()


def test_nsds_sessions_give_the_same_bytes(tmp_path):
    """int16, 300 times percent, read by either program."""
    tree = write_tree(tmp_path, sessions=2, formats=("nii.gz",))
    mask = nifti.read_mask(tree.nsdgeneral)
    two = nsd_design.split_stimuli(*nsd_design.read_design(tree.expdesign, 1, [1, 2]))
    theirs = nsd_sessions.average_betas([tree.session(1), tree.session(2)], mask, two)
    files = [Session(tree.session(number), ["1"] * 750) for number in (1, 2)]
    ours = trial_betas.average_betas(files, mask, two, Rules(stored_per_unit=300, zscore="none"))
    assert ours.unit == theirs.unit == "percent signal change"
    for name in two:
        assert ours.betas[name].values.tobytes() == theirs.betas[name].values.tobytes()
    np.testing.assert_allclose(ours.ncsnr, theirs.ncsnr, rtol=1e-6)


def test_one_file_of_runs_of_different_length(tmp_path):
    """As NSD-Imagery: 720 betas, int16, 300 times percent; attention runs of 96 betas; z-scored within each run."""
    rng, lengths = np.random.default_rng(1), [48, 96, 48, 48, 96, 48, 48, 96, 48, 48, 48, 48]
    betas = rng.normal(0, 600, (sum(lengths), 24)).astype(np.int16)
    runs = [str(number) for number, n in enumerate(lengths) for _ in range(n)]
    session = write(tmp_path / "betas_nsdimagery.nii.gz", betas)._replace(runs=runs)
    rows = np.arange(len(betas))
    target = np.where(np.isin(runs, ["0", "2", "3"]), rows % 6, -1).astype(np.int32)
    chosen = {name: stimulus_table.group_trials(target, np.flatnonzero(target >= 0)) for name in ("train", "test")}
    found = trial_betas.average_betas([session], MASK, chosen, Rules(stored_per_unit=300, zscore="run"))
    expected = zscored(betas, [(rows[np.array(runs) == run],) * 2 for run in set(runs)])
    means = np.stack([expected[target == number].mean(0) for number in found.betas["test"].nsd_id])
    np.testing.assert_allclose(found.betas["test"].values, means, atol=1e-6)
    assert found.unit == "standard deviations of a run"


def test_the_scaling_of_a_header_is_honoured(sessions, tmp_path):
    files, betas = sessions
    image = nib.Nifti1Image(betas[1].T.reshape(*SHAPE, -1), AFFINE)
    image.header.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "scaled.nii.gz")
    stored = nib.load(tmp_path / "scaled.nii.gz")
    assert stored.dataobj.slope not in (1, None)
    scaled = Session(tmp_path / "scaled.nii.gz", files[1].runs)
    found = np.empty_like(betas[1])
    trial_betas.read(scaled, MASK, Rules(), found)
    np.testing.assert_array_equal(found, stored.get_fdata(dtype=np.float32).reshape(24, -1).T)


def test_nan_is_dropped_zeroed_or_refused(sessions, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    files, betas = sessions
    betas[1][4, 7] = np.nan
    files[1] = write(tmp_path / "hole.nii.gz", betas[1])
    rows = np.arange(len(betas[1]))
    everything = np.concatenate([zscored(each, [(np.arange(len(each)),) * 2]) for each in betas])
    dropped = trial_betas.average_betas(files, MASK, splits(), Rules())
    assert np.argwhere(~dropped.mask.selected).tolist() == [[1, 0, 1]]
    kept = np.arange(24) != 7
    for name, of in means(everything[:, kept]).items():
        np.testing.assert_allclose(dropped.betas[name].values, of, atol=1e-6)
    assert "hole.nii.gz: 1 of 24 voxels of the mask are NaN in some of its trials, the first is voxel (1, 0, 1)" in (
        caplog.text
    )
    assert "1 of 24 voxels of mask.nii.gz are NaN in some trials, and are left out of everything" in caplog.text
    known = np.delete(rows, 4)
    column = np.zeros(len(rows))
    column[known] = zscored(betas[1][known, 7:8], [(np.arange(len(known)),) * 2])[:, 0]
    everything[N_TRIALS[0] : N_TRIALS[0] + N_TRIALS[1], 7] = column
    zeroed = trial_betas.average_betas(files, MASK, splits(), Rules(nan_voxels="zero"))
    for name, of in means(everything).items():
        np.testing.assert_allclose(zeroed.betas[name].values, of, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"1 values that are NaN in trial 4 \(from 0\), the first in voxel \(1, 0, 1\)"
    ):
        trial_betas.average_betas(files, MASK, splits(), Rules(nan_voxels="error"))


def test_a_constant_voxel_is_zero_exactly(sessions, tmp_path):
    files, betas = sessions
    betas[2][:, 3] = np.float32(0.1)
    files[2] = write(tmp_path / "constant.nii.gz", betas[2])
    buffer = np.empty((N_TRIALS[2], 24), np.float32)
    trial_betas.read(files[2], MASK, Rules(), buffer)
    trial_betas.zscore_in_place(buffer, files[2], np.ones(N_TRIALS[2], bool), "session")
    assert not buffer[:, 3].any()


def test_the_benchmark_of_a_whole_session_checks_its_result(tmp_path, capsys):
    assert laion_betas.write_session(tmp_path, side=12, n_trials=40, n_voxels=50) == 352 + 12**3 * 40 * 4
    laion_betas.measure("betas", tmp_path, 40)
    assert json.loads(capsys.readouterr().out)["peak_mib"] > 0
    assert laion_betas.check(tmp_path, 40) < 1e-5


def test_too_few_trials_for_a_zscore(sessions):
    files, _ = sessions
    alone = files[0]._replace(runs=["9", *["1"] * (N_TRIALS[0] - 1)])
    with pytest.raises(ValueError, match=r"0.nii.gz: there are 1 trials in run 9; expected at least 2 for a z-score"):
        trial_betas.average_betas([alone, *files[1:]], MASK, splits(), Rules(zscore="run"))


def test_trials_are_counted_by_the_table_and_not_by_nsds_number(sessions):
    files, _ = sessions
    shorter = files[0]._replace(runs=files[0].runs[:-1])
    with pytest.raises(ValueError, match=r"0.nii.gz has 7 volumes, its table of trials 6 rows; expected as many"):
        trial_betas.average_betas([shorter], MASK, splits(6), Rules())
