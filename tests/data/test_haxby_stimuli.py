"""The published stimuli of Haxby et al., in their folders, as images of the categories."""

import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from toy_workflow import copy_project, snakemake

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import custom_checks, custom_files
from demo import haxby, haxby_stimuli

PLAIN = ("faces", "houses", "cats", "bottles", "scissors", "shoes", "chairs")


@pytest.fixture
def published(tmp_path):
    """As stimuli-2010.01.14.tar.gz unpacks: grey JPEGs in folders, the scrambled ones a level deeper."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "stimuli"
    for name in (*PLAIN, *(f"controls/scrambled_{name}" for name in PLAIN)):
        (folder / name).mkdir(parents=True)
        for number in range(2 if name.startswith("controls") else 14):
            pixels = rng.integers(0, 256, (40, 50), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name[-4:]}{number}.jpg")
    (folder / "README").write_text("stimuli\n")
    return folder


def blocks():
    pairs = [(category, run) for run in range(1, 13) for category in haxby.OBJECTS]
    values = np.random.default_rng(0).normal(size=(96, 5)).astype(np.float32)
    return haxby.Blocks(values, tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))


def test_every_block_has_another_image_of_its_category(published):
    chosen = haxby_stimuli.choose(published)
    assert len(set(chosen.values())) == len(chosen) == 96
    for (category, _), path in chosen.items():
        assert path.relative_to(published).parts[0] == haxby_stimuli.FOLDERS[category]


def test_names_tell_category_and_run_and_captions_what_is_not_known(published, tmp_path):
    haxby_stimuli.write_images(tmp_path / "images", blocks(), haxby_stimuli.choose(published), 24)
    haxby_stimuli.write_tables(tmp_path / "trials.tsv", tmp_path / "captions.tsv", blocks(), [11, 12])
    trials = custom_files.read_trials(tmp_path / "trials.tsv")
    shown = [haxby.of_stim_file(trial.stim_file) for trial in trials]
    assert shown == list(zip(blocks().category, blocks().run, strict=True))
    assert {trial.run for trial in trials if trial.split == "test"} == {"11", "12"}
    captions = custom_files.read_captions(tmp_path / "captions.tsv")
    assert captions["published/cat_run-03.png"] == ["a cat, an image of the category that was seen"]
    with Image.open(tmp_path / "images/published/cat_run-03.png") as image:
        assert (image.size, image.mode) == ((24, 24), "RGB")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: shutil.rmtree(folder / "cats"), "which has no folder cats; expected faces, houses, cats"),
        (lambda folder: (folder / "shoes").rename(folder / "boots"), "which has no folder shoes"),
        (
            lambda folder: [path.unlink() for path in sorted(folder.glob("cats/*"))[:3]],
            "cats has 11 images; expected at least 12, one for each run",
        ),
    ],
)
def test_what_is_missing_is_named(published, damage, sentence):
    damage(published)
    with pytest.raises(ValueError, match=sentence):
        haxby_stimuli.choose(published)


def test_no_image_twice_under_two_names(published, tmp_path):
    """Validation of the whole dataset looks at pixels."""
    first, *_, last = sorted((published / "cats").iterdir())
    for path in sorted((published / "cats").iterdir()):
        if path != first:
            shutil.copy(first, path)
    haxby_stimuli.write_images(tmp_path / "images", blocks(), haxby_stimuli.choose(published), 24)
    haxby_stimuli.write_tables(tmp_path / "trials.tsv", tmp_path / "captions.tsv", blocks(), [12])
    np.save(tmp_path / "betas.npy", blocks().values)
    files = custom_files.SubjectFiles("haxby01", tmp_path / "trials.tsv", (tmp_path / "betas.npy",), None, {})
    found = list(custom_checks.problems([files], tmp_path / "images", tmp_path / "captions.tsv"))
    assert any("has the same pixels as" in sentence for sentence in found), found
    assert last.is_file()


@pytest.mark.workflow
def test_the_option_reaches_the_artifacts_and_a_missing_folder_stops_the_run(published, tmp_path):
    checkout = copy_project(tmp_path / "checkout", "tests")
    (checkout / "mine.yaml").write_text(yaml.safe_dump({"haxby": {"stimuli": str(published)}}))
    options = ["--configfile", "config.haxby.yaml", "mine.yaml", "--"]
    data = "results_haxby/haxby01/data"
    run = snakemake(checkout, "--cores", "1", *options, f"{data}/stimuli_test.h5", f"{data}/captions.json")
    assert run.returncode == 0, run.stderr
    assert hdf5.load(checkout / data / "stimuli_test.h5").values.shape[0] == 32
    captions = json.loads((checkout / data / "captions.json").read_text())
    assert all("an image of the category that was seen" in texts[0] for texts in captions.values())
    again = snakemake(checkout, "-n", *options, f"{data}/stimuli_test.h5")
    assert "Nothing to be done" in again.stdout + again.stderr
    shutil.rmtree(published / "cats")
    (checkout / "none.yaml").write_text(yaml.safe_dump({"haxby": {"stimuli": "no/such/folder"}}))
    for file, sentence in (
        ("mine.yaml", "has no folder cats"),
        ("none.yaml", "haxby.stimuli is no/such/folder, which"),
    ):
        run = snakemake(checkout, "-n", "--configfile", "config.haxby.yaml", file, "--", f"{data}/stimuli_test.h5")
        assert run.returncode != 0
        assert sentence in run.stderr
        assert "Traceback" not in run.stderr
