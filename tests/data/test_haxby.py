"""The real brain in the box: what is made of the recording, and that decoding it run by run beats permuted labels."""

import re

import nibabel as nib
import numpy as np
import pytest
from toy_workflow import ROOT, copy_project, snakemake

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import custom_checks, custom_files
from brain_diffuser.decoding import ridge
from demo import haxby, haxby_runs

pytestmark = pytest.mark.long

SHIPPED = ROOT / "demo/haxby2001"


@pytest.fixture(scope="module")
def blocks():
    mask = np.asarray(nib.load(SHIPPED / "mask.nii.gz").dataobj) > 0
    volumes = np.asarray(nib.load(SHIPPED / "bold.nii.gz").dataobj)[mask].T.astype(np.float64)
    return haxby.block_means(volumes, *haxby.read_labels(SHIPPED / "attributes_literal.txt"))


@pytest.fixture(scope="module")
def labelled(blocks):
    names = [haxby.stim_file(*each) for each in zip(blocks.category, blocks.run, strict=True)]
    ids = {name: number for number, name in enumerate(sorted(names))}
    rows = hdf5.StimulusArray(blocks.values, np.array([ids[name] for name in names], np.int32))
    return haxby_runs.with_labels(rows, ids)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"rest 0\ncat\n", "line 2 is 'cat'; expected a label and the number of a run"),
        (b"rest 0\n\ncat 0\n", "line 2 is ''; expected a label and the number of a run"),
        (b"rest 0 1\n", "line 1 is 'rest 0 1'; expected a label"),
        (b"rest zero\n", "line 1 is 'rest zero'; expected a label"),
        (b"rest 0\nh\xe9 0\n", "line 2 has byte 0xe9, which is not UTF-8; save it as UTF-8"),
    ],
)
def test_labels_that_cannot_be_read(tmp_path, content, sentence):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"labels\.txt {re.escape(sentence)}"):
        haxby.read_labels(tmp_path / "labels.txt")


def test_every_run_shows_every_category_once(blocks):
    assert blocks.values.shape == (96, 530)
    shown = set(zip(blocks.category, blocks.run, strict=True))
    assert shown == {(category, run) for category in haxby.OBJECTS for run in range(1, 13)}


def test_blocks_are_means_of_cleaned_volumes_two_later():
    """A voxel that answers to one category two volumes late, on a drift that detrending takes away."""
    labels, runs = (["rest"] * 6 + ["cat"] * 4 + ["rest"] * 6 + ["shoe"] * 4) * 2, [0] * 20 + [1] * 20
    answer = np.roll([label == "cat" for label in labels], 2).astype(float)
    volumes = np.stack([answer + 0.3 * np.arange(40), np.arange(40) % 7], axis=1)
    found = haxby.block_means(volumes, labels, runs)
    assert (found.category, found.run) == (("cat", "shoe") * 2, (1, 1, 2, 2))
    late, early = found.values[:, 0], haxby.block_means(volumes, labels, runs, shift=0).values[:, 0]
    assert late[0] > 1.5
    assert late[0] - late[1] > early[0] - early[1] + 0.5


def test_images_stand_in_one_for_each_block():
    drawn = {(category, run): haxby.draw(category, run, 96) for category in haxby.OBJECTS for run in range(1, 13)}
    assert len({image.tobytes() for image in drawn.values()}) == 96
    np.testing.assert_array_equal(drawn["cat", 3], haxby.draw("cat", 3, 96))
    scrambled, whole = drawn[haxby.SCRAMBLED, 7], haxby.draw("face", 7, 96)
    assert np.sort(scrambled.ravel()).tolist() == np.sort(whole.ravel()).tolist()
    assert (scrambled != whole).any()
    assert haxby.of_stim_file(haxby.stim_file("cat", 3)) == ("cat", 3)
    assert all("standing in for what was seen" in haxby.caption(category) for category in haxby.OBJECTS)


def test_what_is_written_is_a_sound_dataset(blocks, tmp_path):
    haxby.write_betas(tmp_path / "betas.nii.gz", blocks, nib.load(SHIPPED / "mask.nii.gz"))
    haxby.write_images(tmp_path / "stimuli", blocks)
    haxby.write_tables(tmp_path / "trials.tsv", tmp_path / "captions.tsv", blocks, [11, 12])
    names = [str(tmp_path / "trials.tsv"), [str(tmp_path / "betas.nii.gz")], [str(SHIPPED / "mask.nii.gz")]]
    files = custom_files.SubjectFiles.from_names("haxby01", *names, {})
    assert list(custom_checks.problems([files], tmp_path / "stimuli", tmp_path / "captions.tsv")) == []
    trials = custom_files.read_trials(tmp_path / "trials.tsv")
    splits = custom_files.split_stimuli(trials, custom_files.stimulus_ids(tmp_path / "stimuli"))
    assert {split: len(each.nsd_id) for split, each in splits.items()} == {"train": 80, "test": 16}
    selected = np.asarray(nib.load(SHIPPED / "mask.nii.gz").dataobj) > 0
    read = np.concatenate(list(custom_files.read_betas(files.betas, trials, selected, "none")))
    np.testing.assert_array_equal(read, blocks.values)


def test_the_plain_classifier_reaches_what_is_known_of_it(labelled):
    """69.8 %, as scikit-learn's own cross-validation of these blocks gives."""
    named = haxby_runs.classify(labelled, np.arange(96))
    assert np.mean(named == labelled.category) == pytest.approx(67 / 96)


@pytest.fixture(scope="module")
def features(labelled):
    """A space in which every category has its place, and every image its own near it."""
    rng = np.random.default_rng(0)
    places = {category: rng.normal(0, 1, 20) for category in haxby.OBJECTS}
    values = np.stack([places[each] + rng.normal(0, 0.2, 20) for each in labelled.category]).astype(np.float32)
    return hdf5.StimulusArray(values, labelled.betas.nsd_id)


def test_held_out_blocks_are_identified_far_above_permuted_labels(labelled, features):
    order = np.arange(96)
    predicted = haxby_runs.held_out(labelled, features, order, alpha=100.0, rescale="train_oof")
    named = haxby_runs.identify(labelled, features.values, predicted)
    share = np.mean(named == labelled.category)
    null = haxby_runs.control(labelled, features.values, alpha=100.0, permutations=20, seed=0)
    assert share > 0.6
    assert null.max() < 0.35
    assert abs(null.mean() - 1 / 8) < 0.04
    assert haxby_runs.p_value(labelled, named, draws=200) == pytest.approx(1 / 201)


def test_control_is_the_same_ridge(labelled, features):
    """With the true order for a permutation, it identifies what `held_out` without rescaling does."""
    order = haxby_runs.shuffled(labelled.run, np.random.default_rng([5, 1]))
    predicted = haxby_runs.held_out(labelled, features, order, alpha=30.0, rescale="none")
    named = haxby_runs.identify(labelled, features.values, predicted)
    (share,) = haxby_runs.control(labelled, features.values, alpha=30.0, permutations=1, seed=5)
    assert share == np.mean(named == labelled.category)


def test_no_run_learns_from_itself(labelled, features):
    """What a run's own features are changes none of its predictions."""
    order = np.arange(96)
    changed = features.values.copy()
    changed[labelled.run == 4] = 1e3
    options = {"alpha": 100.0, "rescale": "none"}
    before = haxby_runs.held_out(labelled, features, order, **options)
    after = haxby_runs.held_out(labelled, features._replace(values=changed), order, **options)
    np.testing.assert_array_equal(before[labelled.run == 4], after[labelled.run == 4])
    assert not np.allclose(before[labelled.run == 5], after[labelled.run == 5])


def test_folds_leave_one_run_out(labelled):
    seen = []
    for kept, left, kernel in haxby_runs.folds(labelled):
        assert (len(kept), len(left)) == (88, 8)
        assert isinstance(kernel, ridge.Kernel)
        assert not set(kept) & set(left)
        seen += left.tolist()
    assert sorted(seen) == list(range(96))


def test_tables_say_what_they_are_about(labelled, tmp_path):
    named = {("betas", "true"): labelled.category, ("betas", "permuted"): labelled.category[::-1]}
    haxby_runs.write_identification(tmp_path, labelled, named, np.array([0.1, 0.2]), "HAXBY: images stand in")
    assert "**HAXBY: images stand in**" in (tmp_path / "identification.md").read_text()
    assert "| betas | true | 96 | 1.0000 | 0.1250 | 0.0001 |" in (tmp_path / "identification.md").read_text()
    assert "HAXBY: images stand in" in (tmp_path / "identification.svg").read_text()
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 1 + 2 * 12


@pytest.mark.workflow
def test_a_fresh_clone_reaches_the_nsd_stages_artifacts(tmp_path, blocks):
    checkout = copy_project(tmp_path / "checkout", "tests")
    haxby_config = ["--configfile", "config.haxby.yaml", "--"]
    asked = [f"results_haxby/haxby01/data/{name}_test.h5" for name in ("betas", "stimuli")]
    asked += [f"results_haxby/haxby01/held_out/{labels}/clip_text.h5" for labels in ("true", "permuted")]
    run = snakemake(checkout, "--cores", "2", *haxby_config, *asked, "results_haxby/haxby01/data/captions.json")
    assert run.returncode == 0, run.stderr
    betas = hdf5.load(checkout / asked[0])
    assert len(betas.values) == 32
    of_test = np.array([run > 8 for run in blocks.run])
    np.testing.assert_allclose(np.sort(betas.values, 0), np.sort(blocks.values[of_test], 0), rtol=1e-6)
    again = snakemake(checkout, "-n", *haxby_config, *asked)
    assert "Nothing to be done" in again.stdout + again.stderr
    true, permuted = (hdf5.load(checkout / path).values for path in asked[2:])
    assert len(true) == 96
    assert (true != permuted).any(axis=(1, 2)).all()
    for target in ("results_haxby/haxby01/identification", "results_haxby/report.html"):
        planned = snakemake(checkout, "-n", *haxby_config, target)
        assert planned.returncode == 0, planned.stderr


def test_a_block_without_features_of_its_own_has_no_name(labelled, features):
    """0 by 0 is no hit of the first category."""
    same = np.ones_like(features.values)
    assert set(haxby_runs.identify(labelled, features.values, same)) == {""}
