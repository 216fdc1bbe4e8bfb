"""Identification, baselines and signs of spurious reconstruction in the workflow; nothing finished is made again."""

import numpy as np
import pytest
from toy_workflow import N_TEST, edit_config, planned, snakemake

from brain_diffuser.artifacts import image_files, tables
from brain_diffuser.evaluation import alarms, feature_identification, similarity

pytestmark = pytest.mark.workflow

FEATURES = ("vdvae", "clip_text", "clip_vision")
SETS = ("nearest_training", "nearest_training_oracle")


def test_evidence_is_made_beside_finished_results(checkout):
    edit_config(checkout, "report.spurious", True)
    scored = {f"{rule}:{images}" for rule in ("pixels", "perceptual_scores") for images in SETS}
    of_features = {f"{rule}:{feature}" for rule in ("similarity", "output_dimensions") for feature in FEATURES}
    expected = {*SETS, *scored, *of_features, "feature_identification", "baselines", "spurious", "report"}
    assert planned(checkout) == expected
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode == 0, run.stderr
    results = checkout / "results/sub01"
    states = {row["alarm"]: row["state"] for row in tables.read_csv(results / "spurious/alarms.csv")}
    assert states["near-duplicates"] == alarms.SILENT
    assert alarms.UNMEASURED not in states.values()
    rows = tables.read_csv(results / "feature_identification/identification.csv")
    assert {row["feature"] for row in rows} == set(FEATURES)
    assert {(row["direction"], row["candidates"]) for row in rows} == set(feature_identification.SEARCHES)
    sets = {row["images"] for row in tables.read_csv(results / "baselines/scores.csv")}
    assert sets == {"stage1", "recon", *SETS, "mean_image", "vdvae", "autoencoder"}
    nsd_id, images = image_files.read_folder(
        results / "references/nearest_training_oracle", results / "references/nearest_training_oracle_manifest.tsv"
    )
    of = similarity.load(results / "similarity/clip_vision.h5")
    assert nsd_id.tolist() == of.test_id.tolist()
    assert len(np.unique(images.reshape(N_TEST, -1), axis=0)) == len(set(of.true[:, N_TEST:].argmax(1).tolist()))
    page = (checkout / "results/report.html").read_text(encoding="utf-8")
    assert '<section id="spurious"' in page
    assert planned(checkout) == set()
    edit_config(checkout, "evidence.baselines", ["recon", "nearest_training"])
    assert planned(checkout) == {"baselines", "report"}
    edit_config(checkout, "evidence.baselines", ["recon", "nearest"])
    refused = snakemake(checkout, "-n")
    assert "evidence.baselines names nearest; did you mean nearest_training?" in refused.stderr
