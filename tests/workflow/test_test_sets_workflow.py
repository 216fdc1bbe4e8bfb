"""Test sets in the workflow: decoders as they are, their scores, and nothing of the subject made again."""

import re
import shutil
import zlib

import numpy as np
import pytest
import yaml
from test_set_trees import write_imagery, write_synthetic
from toy_workflow import digests, planned, snakemake

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.decoding import ridge

pytestmark = pytest.mark.workflow

SHAPE = (6, 5, 4)
TEST_SETS = {"imagery": {"kind": "nsd_imagery"}, "synthetic": {"kind": "nsd_synthetic", "images": False}}
TARGETS = ("results/sub01_imagery_words/stage1", "results/report.html")


def response(*key):
    return np.random.default_rng(zlib.crc32(repr(key).encode())).normal(0, 1, SHAPE)


@pytest.fixture(scope="module")
def tested(finished, tmp_path_factory):
    """A finished run with two test sets, what was there before, and what their run said."""
    checkout = tmp_path_factory.mktemp("test_sets") / "checkout"
    shutil.copytree(finished, checkout, copy_function=shutil.copy2)
    before = digests(checkout / "results/sub01")
    write_imagery(checkout / "toy/nsd", SHAPE, lambda run, cue: response(cue, run[3]), formats=("nii.gz",))
    write_synthetic(checkout / "toy/nsd", SHAPE, (1, 2, 105, 106, 221, 222), response)
    path = checkout / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"test_sets": TEST_SETS}, sort_keys=False))
    run = snakemake(checkout, "--cores", "2", "--quiet=host", *TARGETS)
    assert run.returncode == 0, run.stderr
    return checkout, before, run


def test_nothing_of_the_subject_is_made_again(tested):
    checkout, before, run = tested
    outputs = re.findall(r"^ +output: (.*)$", run.stderr, re.M)
    folders = {folder for line in outputs for folder in re.findall(r"results/([\w.]+)", line)}
    of_report = {"report.html", "report_figures", "resource_usage.csv"}
    assert folders == {"sub01_imagery", "sub01_imagery_words", "sub01_synthetic"} | of_report
    assert digests(checkout / "results/sub01") == before


def test_predictions_are_those_of_the_subjects_ridge(tested):
    results = tested[0] / "results"
    train, own = (
        hdf5.load(results / path) for path in ("sub01/data/betas_train.h5", "sub01_imagery/data/betas_test.h5")
    )
    kernel = ridge.kernel(train, own)
    alpha = yaml.safe_load((tested[0] / "config.yaml").read_text())["ridge"]["alpha"]["clip_vision"]
    out = results / "sub01_imagery/again.h5"
    features = results / "sub01/features/clip_vision_train.h5"
    ridge.predict(kernel, features, out, alpha=alpha, rescale="train_oof")
    found = hdf5.load(results / "sub01_imagery/ridge/clip_vision_test.h5")
    np.testing.assert_allclose(found.values, hdf5.load(out).values, rtol=1e-4, atol=1e-5)
    assert len(found.nsd_id) == 12


def test_scores_say_their_pool_and_what_the_set_alone_gives(tested):
    results = tested[0] / "results"
    rows = {
        (row["images"], row["metric"], row["stimuli"]): row
        for row in tables.read_csv(results / "sub01_imagery/test_set/scores.csv")
    }
    assert {key[0] for key in rows} == {"decoded features", "stage1", "recon"}
    whole, within = (rows["recon", "clip", stimuli] for stimuli in ("all", "within sets"))
    assert (whole["pool"], whole["by_group_alone"], within["pool"]) == ("12", "0.773", "6")
    assert {whole["counted"], within["counted"]} == {"all permutations", "all permutations within sets"}
    decoded = tables.read_csv(results / "sub01_synthetic/test_set/scores.csv")
    assert {row["images"] for row in decoded} == {"decoded features"}
    assert {row["n"] for row in decoded} == {"6", "2"}
    page = (results / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="experiments"') :].partition("</section>")[0]
    assert "sub01_imagery" in section
    assert "sub01_synthetic" in section


def test_words_are_reconstructed_and_not_scored(tested):
    results = tested[0] / "results"
    assert len(list((results / "sub01_imagery_words/stage1").glob("nsd1000*.png"))) == 6
    assert not (results / "sub01_imagery_words/test_set").exists()
    names = {path.name for path in (results / "sub01_imagery/recon").glob("*.png")}
    assert {"nsd28751.png", "nsd100000.png"} <= names


def test_a_finished_run_plans_nothing_but_what_another_decoder_needs(tested):
    """The network is trained on the subject, and predicts from the targets."""
    found = planned(tested[0], *TARGETS, "results/sub01_imagery/learned/vdvae_test.h5")
    assert found == {"learned_train:vdvae", "test_set_learned:vdvae"}
