"""The whole workflow on a toy lab's data in the plain layout: no stage after the data knows."""

import csv
import json
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image
from toy_lab import N_TEST, N_TRAIN, SIDE, write_lab
from toy_workflow import edit_config, graphs, interpreter, planned, snakemake, write_checkout

from brain_diffuser.artifacts import hdf5, image_files

pytestmark = pytest.mark.workflow

ALONE = ("design", "betas", "captions", "stimuli")


@pytest.fixture(scope="module")
def finished_custom(tmp_path_factory):
    """A checkout in which everything has run, without captions; never changed."""
    checkout = write_checkout(tmp_path_factory.mktemp("custom") / "checkout")
    shutil.rmtree(checkout / "toy/nsd")
    write_lab(checkout / "data/custom")
    (checkout / "data/custom/captions.tsv").unlink()
    config = yaml.safe_load((checkout / "config.yaml").read_text())
    custom = config["datasets"]["custom"]
    custom |= {
        key: config["datasets"]["toy"][key] for key in ("vdvae", "versatile_diffusion", "clip", "evaluation_networks")
    }
    custom["captions"] = "none"
    custom["custom"]["rois"] = {"V1": "data/custom/sub-{label}/rois/V1.nii.gz"}
    config["recon"]["text_weight"] = 0.0
    config["metrics"]["networks"] = []
    example = yaml.safe_load((checkout / "config.custom.yaml").read_text())
    config["compute"] |= example.pop("compute")
    config["roi"] |= example.pop("roi") | {"lesions": config["roi"]["lesions"] | {"regions": ["V1"]}}
    config["roi"]["perturb"] = {**config["roi"]["perturb"], "stimuli": 2, "amounts": [0]}
    (checkout / "config.yaml").write_text(yaml.safe_dump(config | example, sort_keys=False))
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode == 0, run.stderr
    return checkout


@pytest.fixture
def custom_checkout(finished_custom, tmp_path):
    return shutil.copytree(finished_custom, tmp_path / "moved", copy_function=shutil.copy2)


def test_artifacts_without_captions(finished_custom):
    results = finished_custom / "results_custom/sub01"
    betas = hdf5.load(results / "data/betas_test.h5")
    ids, images = image_files.read_folder(results / "recon", results / "recon_manifest.tsv")
    assert ids.tolist() == betas.nsd_id.tolist()
    assert len(images) == N_TEST
    assert {path.name[:4] for path in (results / "recon").glob("*.png")} == {"stim"}
    captions = json.loads((results / "data/captions.json").read_text())
    assert list(captions.values()) == [["no caption"]] * (N_TRAIN + N_TEST)
    predicted = hdf5.load(results / "ridge/clip_text_test.h5").values
    np.testing.assert_array_equal(predicted, np.repeat(predicted[:1], N_TEST, 0))
    page = (finished_custom / "results_custom/report.html").read_text()
    assert "<dt>Dataset</dt><dd>CUSTOM<small>own data</small>" in page
    assert "no caption" not in page
    assert '"name":"set/08.png","captions":["set/08.png"]' in page
    assert "V1" in (results / "accuracy/encoding.csv").read_text()


def test_second_run_does_nothing_and_the_drawn_graph_is_snakemakes(finished_custom):
    assert planned(finished_custom) == set()
    drawn, edges = graphs(finished_custom, "results_custom")
    without_scores = {pair for pair in drawn if "perceptual_scores" not in pair}
    assert without_scores <= edges | {("captions", "features")}
    assert {a for a, b in edges if b in ALONE} == {"design"}


def test_results_lie_in_their_own_folder(finished_custom):
    """That of config.custom.yaml; what reads results by itself finds them there."""
    assert not (finished_custom / "results").exists()
    assert json.loads((finished_custom / "results_custom/.dataset.json").read_text())["dataset"] == "custom"
    with open(finished_custom / "results_custom/resource_usage.csv", newline="") as stream:
        assert ("sub01", "recon") in {(row["subject"], row["stage"]) for row in csv.DictReader(stream)}

    def said(command, *arguments):
        called = [interpreter(), "-m", f"brain_diffuser.{command}", *arguments]
        run = subprocess.run(called, cwd=finished_custom, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout

    rows = {(row["subject"], row["stage"]): row for row in json.loads(said("watch", "--json"))["rows"]}
    assert rows["sub01", "recon"]["stimuli"] == N_TEST
    assert not rows["sub01", "recon"]["is_bound"]
    estimate = said("estimate", "--forceall")
    assert "Dataset custom, results in results_custom; speeds measured in results_custom" in estimate
    assert "measured here" in estimate
    assert "sub01,recon," in said("resource_usage", "results_custom")


def test_an_edited_image_runs_what_sees_it(custom_checkout):
    for path in custom_checkout.glob("data/custom/stimuli/**/*"):
        path.touch()  # as a copy of the dataset has new dates
    assert planned(custom_checkout) == set()
    image = next(custom_checkout.glob("data/custom/stimuli/set/*.png"))
    Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB").save(image)
    found = planned(custom_checkout)
    assert {"stimuli", "features:vdvae", "ridge:vdvae", "recon"} <= found
    assert not {"design", "betas", "captions", "ridge_kernel"} & found


def test_edited_betas_run_what_reads_them(custom_checkout):
    (betas,) = custom_checkout.glob("data/custom/sub-01/sub-01_betas.nii.gz")
    image = nib.load(betas)
    nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine).to_filename(betas)
    found = planned(custom_checkout)
    assert {"betas", "ridge_kernel", "recon"} <= found
    assert not {"design", "stimuli", "features:vdvae"} & found


def test_an_image_more_numbers_them_anew(custom_checkout):
    Image.new("RGB", (SIDE, SIDE)).save(custom_checkout / "data/custom/stimuli/another.png")
    assert {"design", "betas", "stimuli", "captions"} <= planned(custom_checkout)


def test_problems_are_reported_together_before_any_other_job(custom_checkout):
    shutil.rmtree(custom_checkout / "results_custom")
    trials = custom_checkout / "data/custom/sub-01/sub-01_trials.tsv"
    trials.write_text(trials.read_text().replace("\ttrain", "\tvalidation", 1))
    Image.new("CMYK", (SIDE, SIDE)).save(custom_checkout / "data/custom/stimuli/set/00.png", format="JPEG")
    run = snakemake(custom_checkout, "--cores", "2")
    assert run.returncode != 0
    assert "The dataset has 2 problems; nothing was computed.\n1. " in run.stderr
    assert "split is 'validation'; expected train, test or n/a\n2. " in run.stderr
    assert run.stderr.rstrip().endswith("set/00.png is CMYK; expected 8-bit RGB or grey (L), so convert it")
    assert "Traceback" not in run.stderr
    assert not (custom_checkout / "results_custom/sub01/data").exists()


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("recon.text_weight", 0.4, "recon.text_weight is 0.4, and datasets.custom.captions is none; without captions"),
        ("datasets.custom.custom.mask", "no.nii.gz", "datasets.custom.custom.mask is no.nii.gz, which does not exist"),
        (
            "datasets.custom.custom.betas",
            "b/{session}.npy",
            "datasets.custom.custom.betas is b/{session}.npy, which does",
        ),
        (
            "datasets.custom.custom.rois",
            {},
            "roi.lesions.regions names V1, which is not in datasets.custom.custom",
        ),
        ("datasets.custom.nsd", "nsd", "datasets.custom needs one of nsd and custom"),
        ("subjects", ["demo"], "subjects has demo, which is another folder of results; rename the subject"),
        ("subjects", ["01"], 'subjects.0 is "01"; expected letters and digits, a letter first'),
        (
            "datasets.custom.adapter",
            "mine",
            "datasets.custom.adapter is mine; expected nsd, demo, custom, bids, haxby, bold5000, laion_fmri or",
        ),
    ],
)
def test_wrong_configuration_stops_before_any_job(custom_checkout, key, value, sentence):
    edit_config(custom_checkout, key, value)
    run = snakemake(custom_checkout, "-n")
    assert run.returncode != 0
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr


def test_a_variant_that_needs_captions_is_refused(custom_checkout):
    run = snakemake(custom_checkout, "-n", "results_custom/sub01/variants/without_vision/recon")
    assert run.returncode != 0
    assert "variant without_vision has text_weight 1.0, and dataset custom has no captions" in run.stdout + run.stderr
    assert snakemake(custom_checkout, "-n", "results_custom/sub01/variants/without_vdvae/recon").returncode == 0
