"""BIDS' events and GLMsingle's betas: read, validated, and run through the workflow to scores."""

import csv
import re
import shutil
from types import SimpleNamespace

import bids_tree
import h5py
import nibabel as nib
import numpy as np
import pytest
import yaml
from bids_tree import N_TEST, N_TRAIN, RUNS, SHAPE, write_tree
from PIL import Image
from toy_workflow import example, snakemake, write_checkout

from brain_diffuser.artifacts import hdf5, image_files, tables
from brain_diffuser.data import bids, bids_checks, bids_events, bids_files, custom_checks, custom_files, stimulus_table

DROP = custom_checks.Checks("drop", "session")
OPTIONS = ["--configfile", "config.bids.yaml", "mine.yaml", "small.yaml", "--"]


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path)


def events(tree):
    return sorted(tree.root.glob("sub-01/ses-*/func/*_events.tsv"))


def problems(tree, betas=None, split="split", checks=DROP, trials=None, mask="mask"):
    files = custom_files.SubjectFiles(
        "sub01",
        trials or tree.root / "sub-01/func/sub-01_ses-{session}_task-images_run-{run}_events.tsv",
        tuple(betas or [tree.results]),
        tree.mask_file if mask else None,
        {},
    )
    subject = bids_checks.Subject(files, (trials,) if trials else tuple(events(tree)))
    return list(bids_checks.problems([subject], tree.root / "stimuli", None, checks, split))


def test_trials_follow_sessions_runs_and_onsets(tree):
    """Session 2 comes before session 10, and the lines of one run are not in order."""
    trials = bids_events.read_trials(events(tree), "split")
    assert [trial.stim_file for trial in trials] == tree.shown
    assert [trial.session for trial in trials] == tree.session
    assert [(trial.session, trial.run) for trial in trials] == sorted(
        ((trial.session, trial.run) for trial in trials), key=lambda pair: (int(pair[0]), int(pair[1]))
    )
    seen = [tree.shown[: row + 1].count(name) for row, name in enumerate(tree.shown)]
    assert [trial.repeat for trial in trials] == [str(n) for n in seen]


def test_the_test_is_a_column_or_what_is_shown_often(tree):
    by_column = bids_events.read_trials(events(tree), "split")
    assert len({trial.stim_file for trial in by_column if trial.split == "test"}) == N_TEST
    assert bids_events.read_trials(events(tree), 3) == by_column
    assert {trial.split for trial in bids_events.read_trials(events(tree), 4)} == {"train"}
    assert {trial.split for trial in bids_events.read_trials(events(tree), 2)} == {"test"}


def test_a_dataset_without_sessions_or_runs_in_its_names(tmp_path):
    path = tmp_path / "sub-01_task-images_events.tsv"
    path.write_text("onset\tstim_file\n1\ta.png\n0.5\tb.png\n")
    (run,) = bids_events.read([path], 2)
    assert (run.session, run.run) == ("1", "1")
    assert [(line, trial.stim_file) for line, trial in run.trials] == [(3, "b.png"), (2, "a.png")]


def test_a_sound_tree_has_no_problem_and_missing_runs_are_none_if_the_numbers_agree(tree):
    assert problems(tree) == []
    last = tree.events(*RUNS[-1])
    last.rename(last.with_name(last.name.replace("run-2", "run-4")))
    assert problems(tree) == []


def test_matlabs_file_and_files_of_sessions_give_the_same_betas(tree):
    folder = tree.results.parent
    trials = bids_events.read_trials(events(tree), "split")
    bids_tree.write_matlab(folder / "all.mat", tree.betas)
    is_second = np.array(tree.session) == "10"
    for session, rows in (("2", ~is_second), ("10", is_second)):
        bids_tree.write_python(folder / f"ses-{session}.hdf5", tree.betas[..., rows])
    several = bids_files.in_order(sorted(map(str, folder.glob("ses-*.hdf5"))))
    assert [path.name for path in several] == ["ses-2.hdf5", "ses-10.hdf5"]
    expected = tree.betas[tree.mask].T
    for paths in ([tree.results], [folder / "all.mat"], several):
        assert problems(tree, paths) == []
        found = np.concatenate(list(bids_files.read_betas(paths, trials, tree.mask, "none")))
        np.testing.assert_array_equal(found, expected)


def test_plain_betas_and_a_plain_table_are_read_too(tree):
    np.save(tree.root / "betas.npy", tree.betas[tree.mask].T)
    assert problems(tree, [tree.root / "betas.npy"]) == []
    trials = bids_events.read_trials(events(tree), "split")
    tables.write_tsv(tree.root / "trials.tsv", custom_files.TRIALS, trials)
    assert problems(tree, trials=tree.root / "trials.tsv") == []
    assert bids.read_trials([str(tree.root / "trials.tsv")], "split") == trials


def test_what_the_jobs_write(tree, tmp_path):
    """Betas averaged over repeats, with a voxel that GLMsingle could not fit left out."""
    voxel = tuple(np.argwhere(tree.mask)[2])
    tree.betas[(*voxel, slice(None))] = np.nan
    bids_tree.write_python(tree.results, tree.betas)
    out = SimpleNamespace(stimuli=tmp_path / "stimuli.tsv", tables=[str(tmp_path / "stim_files.tsv")])
    out.train, out.test, out.rois = (tmp_path / f"{name}.h5" for name in ("train", "test", "rois"))
    settings = {"split": "split", "folder": str(tree.root / "stimuli"), "zscore": "none"}
    settings["nsd.constant_voxels"] = "drop"
    read = SimpleNamespace(trials=[str(path) for path in events(tree)[::-1]], betas=[str(tree.results)])
    read.mask, read.stimuli = [str(tree.mask_file)], str(out.stimuli)
    bids.write_design(read, out, settings)
    bids.write_betas(read, out, settings)
    names = {int(row["nsd_id"]): row["stim_file"] for row in tables.read_rows(out.tables[0], ("nsd_id", "stim_file"))}
    means = tree.means()
    n_read = 0
    for path in (out.train, out.test):
        values, nsd_id = hdf5.load(path)[:2]
        for row, number in zip(values, nsd_id.tolist(), strict=True):
            np.testing.assert_allclose(row, np.delete(means[names[number]], 2), rtol=1e-5, atol=1e-6)
            n_read += 1
    assert n_read == N_TRAIN + N_TEST
    assert {len(trials) for trials in stimulus_table.read(out.stimuli)["test"].trials} == {3}


def without_column(name):
    def damage(tree):
        lines = tree.lines(*RUNS[0])
        place = lines[0].index(name)
        tree.write_lines(*RUNS[0], [line[:place] + line[place + 1 :] for line in lines])

    return damage


def edited(column, value, line=2):
    """Change a cell; line 2 of the file is the rest at its beginning, line 3 the first image."""

    def damage(tree):
        lines = tree.lines(*RUNS[0])
        lines[line][lines[0].index(column)] = value
        tree.write_lines(*RUNS[0], lines)

    return damage


def doubled_onset(tree):
    lines = tree.lines(*RUNS[0])
    lines[3][0] = lines[2][0]
    tree.write_lines(*RUNS[0], lines)


def renamed(new):
    def damage(tree):
        tree.events(*RUNS[0]).rename(tree.events(*RUNS[0]).with_name(new))

    return damage


def other_betas(tree, betas):
    bids_tree.write_python(tree.results, betas)


def of_another_grid(tree):
    other_betas(tree, tree.betas.transpose(2, 1, 0, 3))


def unmeasured(tree):
    tree.betas[..., 4] = 0
    other_betas(tree, tree.betas)


def infinite(tree):
    tree.betas[(*np.argwhere(tree.mask)[0], 3)] = np.inf
    other_betas(tree, tree.betas)


def in_two_units(tree):
    tree.betas[..., np.array(tree.session) == "10"] *= 300
    other_betas(tree, tree.betas)


def empty_mask(tree):
    nib.Nifti1Image(np.zeros(SHAPE, np.uint8), bids_tree.AFFINE).to_filename(tree.mask_file)


def with_a_test_image_in_training(tree):
    shutil.copy(tree.root / "stimuli" / tree.shown[-1], tree.root / "stimuli" / tree.shown[0])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            without_column("stim_file"),
            "_events.tsv lacks column stim_file; its first line has onset, duration, trial_type",
        ),
        (without_column("onset"), "_events.tsv lacks column onset; its first line has duration"),
        (without_column("split"), "lacks column split; its first line has .*or set settings.split to a number"),
        (lambda tree: tree.events(*RUNS[0]).unlink(), "betas of 25 trials, the trials of the subject are 18 in 3 runs"),
        (edited("onset", "n/a"), r"run-1_events.tsv line 3: onset is 'n/a'; expected seconds since the first volume"),
        (edited("onset", "soon"), r"line 3: onset is 'soon'; expected seconds"),
        (doubled_onset, r"line 3 and 4: two stimuli begin at 4 s; expected one at a time"),
        (edited("split", "validation"), "line 3: split is 'validation'; expected train, test or n/a"),
        (edited("stim_file", "castle/castle99.png"), "line 3: stim_file 'castle/castle99.png' is not in the folder of"),
        (edited("stim_file", "../castle00.png"), "line 3: stim_file is '../castle00.png'; expected a path below"),
        (edited("stim_file", ""), "line 3: stim_file is ''; expected a path below"),
        (
            edited("stim_file", "n/a"),
            "betas of 25 trials, the trials of the subject are 24 in 4 runs; .* have no stim_file",
        ),
        (
            renamed("sub-01_ses-2_task_images_run-1_events.tsv"),
            "is no name of BIDS' events; expected one such as sub-01",
        ),
        (
            lambda tree: other_betas(tree, tree.betas[..., :-1]),
            "has betas of 24 trials, the trials of the subject are 25",
        ),
        (
            of_another_grid,
            r"has volumes of \(3, 4, 5\), .* \(5, 4, 3\); expected one grid; give the mask on the grid of",
        ),
        (
            lambda tree: other_betas(tree, tree.betas.reshape(-1, 1, 1, 25)),
            "has 60 units, .* selects .* voxels; expected",
        ),
        (unmeasured, r"has 1 trials that are one number in all .* voxels of the mask, the first 0 in trial 4"),
        (infinite, "has 1 values inside the mask that are no number, the first inf in trial 3"),
        (empty_mask, "selects 0 voxels; expected at least 1 above 0"),
        (with_a_test_image_in_training, "is in the test of sub01 and has the same pixels as"),
        (lambda tree: tree.events(*RUNS[1]).write_bytes(b"onset\tstim_file\n1\t\xe9.png\n"), "not UTF-8; save it as"),
        (
            lambda tree: tree.events(*RUNS[1]).write_text("onset\tstim_file\tsplit\n1\ta\n"),
            "has 2 cells, its first line 3",
        ),
        (lambda tree: tree.results.write_bytes(tree.results.read_bytes()[:-999]), "cannot be read"),
        (lambda tree: tree.mask_file.unlink(), "mask.nii.gz"),
    ],
)
def test_what_is_wrong_is_one_sentence(tree, damage, sentence):
    damage(tree)
    found = problems(tree)
    assert any(re.search(sentence, each) for each in found), found
    assert all("\n" not in each for each in found)


def test_units_of_sessions_are_compared_unless_they_are_zscored(tree):
    in_two_units(tree)
    assert problems(tree) == []
    (sentence,) = problems(tree, checks=custom_checks.Checks("drop", "none"))
    assert "times as large as those of session 2, as if in another unit" in sentence


def test_voxels_that_glmsingle_could_not_fit(tree):
    tree.betas[(*np.argwhere(tree.mask)[1], slice(None))] = np.nan
    other_betas(tree, tree.betas)
    assert problems(tree) == []
    (sentence,) = problems(tree, checks=custom_checks.Checks("error", "session"))
    assert "are NaN in every trial of a session, as GLMsingle leaves voxels" in sentence


def test_two_tables_of_one_run(tree):
    shutil.copy(tree.events("2", "1"), tree.events("2", "1").with_name("sub-01_ses-2_task-other_run-1_events.tsv"))
    (sentence,) = problems(tree)
    assert "are both of session 2, run 1; expected one table for each run" in sentence


def test_a_missing_run_is_named(tree):
    tree.events("10", "2").rename(tree.events("10", "3"))
    for session, run in RUNS[:1]:
        tree.events(session, run).unlink()
    (sentence,) = [each for each in problems(tree) if "trials of the subject" in each]
    assert "no events of run 2 of session 10 are there" in sentence


def settings_of(split):
    paths = SimpleNamespace(settings=split, custom=SimpleNamespace(rois={}, trials="t", betas="b", mask="m"))
    return SimpleNamespace(dataset="bids", subjects=["sub01"], paths=paths)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (None, None),
        ({"split": "set"}, None),
        ({"split": 3}, None),
        (
            {"split": 1},
            "datasets.bids.settings.split is 1; expected the name of a column of the events, or a whole number",
        ),
        ({"split": True}, "datasets.bids.settings.split is True; expected"),
        ({"split": ""}, "datasets.bids.settings.split is ; expected"),
        ({"test": 3}, "datasets.bids.settings.test is not a known key; expected split alone"),
    ],
)
def test_settings(settings, sentence):
    found = list(bids.problems(settings_of(settings)))
    assert bool(found) == (sentence is not None)
    assert all(each.startswith(sentence) for each in found)


@pytest.fixture(scope="module")
def finished_bids(tmp_path_factory):
    """A checkout in which the example of docs/your_data.md has run to scores with the toy's networks; never changed."""
    checkout = write_checkout(tmp_path_factory.mktemp("bids") / "checkout")
    tree = write_tree(checkout / "bids")
    (checkout / "mine.yaml").write_text(example("your_data.md", "BIDS and GLMsingle", "yaml"))
    models = yaml.safe_load((checkout / "config.yaml").read_text())["datasets"]["toy"]
    small = {key: models[key] for key in ("vdvae", "versatile_diffusion", "clip", "evaluation_networks")}
    (checkout / "small.yaml").write_text(yaml.safe_dump({"datasets": {"bids": small}, "metrics": {"networks": []}}))
    asked = [f"results_bids/sub01/{name}" for name in ("recon", "metrics", "contact_sheet.png", "named/recon")]
    run = snakemake(checkout, "--cores", "1", *OPTIONS, *asked)
    assert run.returncode == 0, run.stderr
    return checkout, tree, asked


@pytest.mark.workflow
def test_the_example_configuration_runs_to_scores(finished_bids):
    checkout, tree, asked = finished_bids
    results = checkout / "results_bids/sub01"
    ids, images = image_files.read_folder(results / "recon", results / "recon_manifest.tsv")
    assert len(images) == N_TEST
    names = {path.name for path in (results / "named/recon").glob("*.png")}
    assert names == {name.replace("/", "_") for name in tree.shown[-N_TEST:]}
    with open(results / "metrics/scores.csv", newline="") as stream:
        assert "recon" in {cell for row in csv.reader(stream) for cell in row}
    test = hdf5.load(results / "data/betas_test.h5")
    assert sorted(test.nsd_id.tolist()) == sorted(ids.tolist())
    assert test.values.shape[1] == tree.mask.sum()
    again = snakemake(checkout, "-n", *OPTIONS, *asked)
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.workflow
def test_an_edited_event_plans_what_reads_it_and_problems_stop_before_any_job(finished_bids, tmp_path):
    checkout, _, asked = finished_bids
    copy = shutil.copytree(checkout, tmp_path / "moved", copy_function=shutil.copy2)
    (path,) = copy.glob("bids/sub-01/ses-10/func/*_run-1_events.tsv")
    text = path.read_text()
    path.write_text(text.replace("\timage\t", "\tpicture\t"))
    run = snakemake(copy, "-n", *OPTIONS, *asked)
    assert run.returncode == 0, run.stderr
    assert "rule design" in run.stdout
    path.write_text(re.sub(r"\w+/\w+\.png", "castle/none.png", text, count=1))
    with h5py.File(next(copy.glob("bids/derivatives/glmsingle/sub-01/*.hdf5")), "r+") as file:
        file["betasmd"][..., 2] = 0
    Image.new("CMYK", (64, 64)).save(copy / "bids/stimuli/castle/castle00.png", format="JPEG")
    run = snakemake(copy, "-n", *OPTIONS, *asked)
    assert run.returncode != 0
    assert "The dataset has 3 problems; nothing was computed.\n1. " in run.stderr
    assert "Traceback" not in run.stderr
