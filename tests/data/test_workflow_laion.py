"""LAION-fMRI in the real workflow, from a toy tree to scores and report: no stage after the data knows."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from laion_tree import SUBJECTS, encode, pixels_of, write_tree
from toy_workflow import interpreter, snakemake, write_checkout

from brain_diffuser.artifacts import hdf5, image_files, tables
from brain_diffuser.data import laion_tables, stimulus_table

pytestmark = pytest.mark.workflow

OPTIONS = ("--configfile", "config.laion_fmri.yaml", "mine.yaml")
RESULTS = "results_laion_fmri"
OURS = tuple(subject.replace("-", "") for subject in SUBJECTS)
TRAIN, TEST = 15, 6
FURTHER = ("tau", "cluster_k5_0")


def write_settings(checkout, subjects=("sub06",), **settings):
    """What differs from config.laion_fmri.yaml: the toy's networks, and what takes less time."""
    toy = yaml.safe_load((checkout / "config.yaml").read_text())["datasets"]["toy"]
    keys = ("vdvae", "versatile_diffusion", "clip", "clip_layers", "stable_diffusion", "evaluation_networks")
    dataset = {key: toy[key] for key in keys} | {"show_stimuli": settings.pop("show_stimuli", True)}
    config = {
        "subjects": list(subjects),
        "datasets": {"laion_fmri": dataset | {"settings": {"image_size": 64} | settings}},
        "metrics": {"networks": []},
        "compute": {"threads": 1},
    }
    (checkout / "mine.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def finished_laion(tmp_path_factory):
    """A checkout in which sub06, whose images are called p02, has its report; and the tree. Never changed."""
    checkout = write_checkout(tmp_path_factory.mktemp("laion") / "checkout")
    shutil.rmtree(checkout / "toy/nsd")
    tree = write_tree(checkout / "data/laion_fmri")
    write_settings(checkout)
    run = snakemake(checkout, "--cores", "2", *OPTIONS)
    assert run.returncode == 0, run.stderr
    return checkout, tree, run.stderr


def test_scores_and_report(finished_laion):
    checkout, tree, _ = finished_laion
    results = checkout / RESULTS / "sub06"
    ids, images = image_files.read_folder(results / "recon", results / "recon_manifest.tsv")
    test = json.loads(tree.split("sub-06", "random_0").read_text())["variants"][0]["test_ids"]
    assert {tree.names[number] for number in ids.tolist()} == set(test)
    assert len(images) == TEST
    assert "recon,pix_corr" in (results / "metrics/scores.csv").read_text()
    page = (checkout / RESULTS / "report.html").read_text()
    assert all(f'"name":"{name}"'.replace("+", "\\u002b") in page or f'"name":"{name}"' in page for name in test)
    assert len(hdf5.load(results / "data/betas_train.h5").values) == TRAIN


def test_terms_are_said_before_stimuli_are_shown(finished_laion):
    checkout, _, said = finished_laion
    sentence = "the data-use terms of LAION-fMRI forbid to pass its stimuli on"
    assert f"The report and contact sheets will show stimuli, and {sentence}; datasets.laion_fmri.show_stimuli" in said
    assert f"LAION-fMRI; {sentence}, so keep this page" in (checkout / RESULTS / "report.html").read_text()


def test_the_digest_of_the_split_is_in_the_receipt(finished_laion):
    checkout, tree, _ = finished_laion
    receipt = (checkout / RESULTS / "sub06/data/.receipts/stimuli.tsv.json").read_text()
    digest = laion_tables.sha256(tree.split("sub-06", "random_0"))
    assert f"'split_sha256': '{digest}'" in receipt
    assert digest in (checkout / RESULTS / "sub06/logs/design.log").read_text()


def test_a_second_run_does_nothing_and_another_split_runs_from_the_design_on(finished_laion, tmp_path):
    checkout, tree, _ = finished_laion
    moved = shutil.copytree(checkout, tmp_path / "moved", copy_function=shutil.copy2)
    again = snakemake(moved, "-n", *OPTIONS)
    assert "Nothing to be done" in again.stdout + again.stderr
    other = moved / tree.split("sub-06", "random_0").relative_to(checkout)
    other.write_text(other.read_text().replace('"seed": 42', '"seed": 43'))
    planned = snakemake(moved, "-n", *OPTIONS)
    assert "rule design:" in planned.stdout + planned.stderr


def test_all_five_subjects(finished_laion, tmp_path):
    checkout, tree, _ = finished_laion
    moved = shutil.copytree(checkout, tmp_path / "moved", copy_function=shutil.copy2)
    write_settings(moved, OURS)
    files = ("betas_test.h5", "stimuli_test.h5", "captions.json", "regions.h5")
    run = snakemake(
        moved, "--cores", "2", *OPTIONS, "--", *(f"{RESULTS}/{each}/data/{name}" for each in OURS for name in files)
    )
    assert run.returncode == 0, run.stderr
    for subject, ours in zip(SUBJECTS, OURS, strict=True):
        test = json.loads(tree.split(subject, "random_0").read_text())["variants"][0]["test_ids"]
        images = hdf5.load(moved / RESULTS / ours / "data/stimuli_test.h5")
        assert {tree.names[number] for number in images.nsd_id.tolist()} == set(test)


def test_stimuli_out_of_distribution_to_their_scores(finished_laion, tmp_path):
    """Their split has test stimuli that no other split has, and no captions."""
    checkout, tree, _ = finished_laion
    moved = shutil.copytree(checkout, tmp_path / "moved", copy_function=shutil.copy2)
    write_settings(moved, split={"name": "ood"}, test_without_caption="no caption")
    run = snakemake(moved, "--cores", "2", *OPTIONS, "--", f"{RESULTS}/sub06/metrics")
    assert run.returncode == 0, run.stderr
    test = json.loads(tree.split("sub-06", "ood").read_text())["variants"][0]["test_ids"]
    ids, _ = image_files.read_folder(moved / RESULTS / "sub06/recon", moved / RESULTS / "sub06/recon_manifest.tsv")
    assert {tree.names[number] for number in ids.tolist()} == set(test)
    (label, *_) = (moved / RESULTS / "sub06/metrics/scores.md").read_text().splitlines()
    assert f"(sha256 {laion_tables.sha256(tree.split('sub-06', 'ood'))[:12]})" in label
    assert {row["n"] for row in tables.read_csv(moved / RESULTS / "sub06/metrics/scores.csv")} == {str(len(test))}


def test_every_further_kind_of_published_split_and_scores_by_source(finished_laion, tmp_path):
    checkout, tree, _ = finished_laion
    moved = shutil.copytree(checkout, tmp_path / "moved", copy_function=shutil.copy2)
    settings = yaml.safe_load((moved / "mine.yaml").read_text())
    settings["splits"] = {}
    for name in FURTHER:
        file = str(tree.split("sub-06", name).relative_to(checkout)).replace("sub-06", "sub-{label}")
        settings["splits"][name] = {"kind": "published", "file": file, "images": False}
    (moved / "mine.yaml").write_text(yaml.safe_dump(settings))
    run = snakemake(moved, "--cores", "2", *OPTIONS, "--", f"{RESULTS}/sub06/generalisation", f"{RESULTS}/report.html")
    assert run.returncode == 0, run.stderr
    pool = stimulus_table.all_ids(stimulus_table.read(moved / RESULTS / "sub06/data/stimuli.tsv")).tolist()
    page = (moved / RESULTS / "sub06/generalisation/scores.md").read_text()
    for name in FURTHER:
        lists = json.loads(tree.split("sub-06", name).read_text())["variants"][0]
        table = stimulus_table.read(moved / RESULTS / f"sub06_{name}/data/stimuli.tsv")
        for split in ("train", "test"):
            expected = {number for number in pool if tree.names[number] in lists[f"{split}_ids"]}
            assert set(table[split].nsd_id.tolist()) == expected
        assert f"(sha256 {laion_tables.sha256(tree.split('sub-06', name))[:12]})" in page
    rows = tables.read_csv(moved / RESULTS / "sub06/generalisation/scores.csv")
    assert {row["split"] for row in rows} == {"default", *FURTHER}
    assert any(row["of"].startswith("source ") for row in rows)


def test_stimuli_that_are_not_to_be_shown_are_on_no_page(finished_laion, tmp_path):
    checkout, _, _ = finished_laion
    moved = shutil.copytree(checkout, tmp_path / "moved", copy_function=shutil.copy2)
    write_settings(moved, show_stimuli=False)
    planned = snakemake(moved, "-n", *OPTIONS)
    rules = {line[5:-1] for line in (planned.stdout + planned.stderr).splitlines() if line.startswith("rule ")}
    assert {"stimuli_stand_ins", "report", "contact_sheet"} <= rules
    assert not rules & {"stimuli", "features", "recon", "perceptual_scores"}
    run = snakemake(moved, "--cores", "2", *OPTIONS)
    assert run.returncode == 0, run.stderr
    assert "will show stimuli" not in run.stderr
    page = (moved / RESULTS / "report.html").read_text()
    assert "<dt>Dataset</dt><dd>LAION_FMRI<small>LAION-fMRI</small>" in page
    shown = [int(text) for text in page.split('"images":[')[1:] for text in text.split(",")[:1]]
    assert len(set(shown)) == 1, "one grey image for all stimuli"
    grey = hdf5.load(moved / RESULTS / "sub06/data/stimuli_stand_ins_test.h5").values
    assert (grey == 127).all()


def test_the_estimate_counts_the_stimuli(finished_laion):
    checkout, _, _ = finished_laion
    called = [interpreter(), "-m", "brain_diffuser.estimate", *OPTIONS, "--forceall"]
    run = subprocess.run(called, cwd=checkout, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Dataset laion_fmri, results in results_laion_fmri" in run.stdout
    assert "not counted yet" not in run.stdout


def test_the_toy_encodes_what_it_says():
    names = ["a.jpg", "b.png"]
    assert encode(pixels_of(names, "b.png"), "b.png")[:4] == b"\x89PNG"
    assert np.asarray(pixels_of(names, "a.jpg")).shape == (64, 64, 3)
