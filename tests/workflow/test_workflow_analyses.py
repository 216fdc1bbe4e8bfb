"""Analyses that only run when they are asked for, on the toy subject: variants, brain correlation, regions."""

import csv
import hashlib

from toy_workflow import digests, edit_config, planned, snakemake

from brain_diffuser.artifacts import image_files
from brain_diffuser.data import rois

FEATURES = ("vdvae", "clip_text", "clip_vision")


def test_variants_share_what_comes_before_them(checkout):
    """Ablations and repeats make their own reconstructions and nothing that is there already."""
    edit_config(checkout, "variants", {"without_vdvae": {"start": "noise"}, "true_features": {"features": "oracle"}})
    edit_config(checkout, "report.ablations", True)
    targets = ("results/sub01/ablations", "results/sub01/consistency", "results/report.html")
    new = {"variant:without_vdvae", "variant:true_features", "variant:seed_1", "ablations", "consistency", "report"}
    scored = {
        f"{rule}:{variant}"
        for rule in ("pixels", "perceptual_scores")
        for variant in ("without_vdvae", "true_features")
    }
    assert planned(checkout, *targets) == new | scored
    before = digests(checkout / "results")
    run = snakemake(checkout, "--cores", "2", *targets)
    assert run.returncode == 0, run.stderr
    assert "without VDVAE" in (checkout / "results/report.html").read_text()
    results = checkout / "results/sub01"
    with open(results / "ablations/scores.csv", newline="") as stream:
        sets = {row["images"] for row in csv.DictReader(stream)}
    assert sets == {"stage1", "recon", "mean_image", "vdvae", "autoencoder", "without_vdvae", "true_features"}
    with open(results / "consistency/consistency.csv", newline="") as stream:
        found = {(row["features"], row["measure"]): float(row["mean"]) for row in csv.DictReader(stream)}
    assert found["pix_corr", "between_repeats"] < 1
    assert found["clip", "variance"] > 0
    repeats = [
        image_files.read_folder(results / each, results / f"{each}_manifest.tsv")
        for each in ("recon", "variants/seed_1/recon", "variants/without_vdvae/recon")
    ]
    assert all(ids.tolist() == repeats[0][0].tolist() for ids, _ in repeats)
    assert not any((images == repeats[0][1]).all() for _, images in repeats[1:])
    after = digests(checkout / "results")
    changed = {path for path, digest in before.items() if after[path] != digest}
    of_report = ("report.html", "report_figures/rules.svg", "resource_usage.csv")
    assert changed == {str(checkout / "results" / name) for name in of_report}


def test_brain_correlation_makes_what_its_sets_need(checkout):
    def compared():
        run = snakemake(checkout, "--cores", "2", target)
        assert run.returncode == 0, run.stderr
        with open(checkout / target / "brain_correlation.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert all(-1 <= float(row["low"]) <= float(row["correlation"]) <= float(row["high"]) <= 1 for row in rows)
        return {(row["images"], row["region"]) for row in rows}

    target = "results/sub01/brain"
    of = {each: {f"brain_vision:{each}", f"brain_betas:{each}"} for each in ("recon", "stage1", "mean_image")}
    assert planned(checkout, target) == of["recon"] | of["stage1"] | {"brain"}
    named = list(rois.load(checkout / "results/sub01/data/regions.h5"))
    assert compared() == {(each, region) for each in ("stimulus", "recon", "stage1") for region in named}
    assert planned(checkout, target) == set()
    edit_config(checkout, "roi.brain", ["recon", "mean_image"])
    assert planned(checkout, target) == of["mean_image"] | {"brain"}
    assert {each for each, _ in compared()} == {"stimulus", "recon", "mean_image"}
    edit_config(checkout, "metrics.bootstrap", 30)
    assert planned(checkout, target) == {"brain"}
    edit_config(checkout, "recon.guidance_scale", 2.0)
    assert planned(checkout, target) == {"recon", *of["recon"], "brain"}
    edit_config(checkout, "features.clip_vision.levels", "paper")
    after_features = {"features:clip_vision", "ridge:clip_vision", "encoding_kernel", "encoding", "recon", "brain"}
    assert planned(checkout, target) == after_features | of["recon"] | of["mean_image"]


def test_regions(checkout):
    """All of one subject's section on regions; what an edit affects; where nothing is changed nothing changes."""
    edit_config(checkout, "roi.images", 2)
    edit_config(checkout, "roi.lesions.draws", 2)
    edit_config(checkout, "report.regions", True)
    results = checkout / "results/sub01"
    run = snakemake(checkout, "--cores", "2", "results/sub01/roi", "results/sub01/weights/clip_text.h5")
    assert run.returncode == 0, run.stderr
    made = {path.name for path in (results / "roi").iterdir()}
    assert {"optimal.png", "perturbed.png", "decoding.csv", "lesions.svg", "weights.csv", "rois.png"} < made
    assert "brain_correlation.csv" in made
    first, *_ = image_files.read_manifest(results / "recon_manifest.tsv")
    unchanged = (results / f"perturbed/images/V1_nsd{first[1]:05d}_+0.png").read_bytes()
    assert hashlib.sha256(unchanged).hexdigest() == first[2]
    named = {path.name for path in (results / "optimal/images").iterdir()}
    assert {"rest_0.png", "faces_1.png", "random_faces_0.png"} <= named
    of_optimal = {*(f"optimal:{feature}" for feature in FEATURES), "optimal_images", "category_probe", "roi"}
    edit_config(checkout, "roi.scale", 0.5)
    assert planned(checkout, "results/sub01/roi") == of_optimal
    edit_config(checkout, "roi.scale", 1.0)
    edit_config(checkout, "roi.perturb.amounts", [-1.0, 0.0])
    of_perturbed = {*(f"perturbed:{feature}" for feature in FEATURES), "perturbed_images", "roi"}
    assert planned(checkout, "results/sub01/roi") == of_perturbed
    edit_config(checkout, "roi.perturb.amounts", [-4.0, -2.0, 0.0, 2.0, 4.0])
    assert planned(checkout, "results/sub01/roi") == set()
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode == 0, run.stderr
    assert 'id="regions"' in (checkout / "results/report.html").read_text()
    assert "Nothing to be done" not in run.stdout + run.stderr
    edit_config(checkout, "roi.regions.mine", {"mask": "my/{subject}.nii.gz"})
    run = snakemake(checkout, "-n", "results/sub01/roi")
    assert "roi.regions.mine reads my/sub01.nii.gz, which does not exist; put a volume there" in run.stderr
    (checkout / "my/sub01.nii.gz").mkdir(parents=True)
    run = snakemake(checkout, "-n", "results/sub01/roi")
    assert "roi.regions.mine reads my/sub01.nii.gz, which is a folder; put a volume there" in run.stderr
    edit_config(checkout, "roi.regions.mine", ["V1v"])
    edit_config(checkout, "roi.regions.nowhere", {"intersection": ["V1v", "V1d"]})
    run = snakemake(checkout, "--cores", "2", "results/sub01/roi")
    assert "region nowhere has 0 of" in run.stderr
    assert made == {path.name for path in (results / "roi").iterdir()}
    edit_config(checkout, "roi.regions.nowhere", ["V1d"])
    edit_config(checkout, "roi.released_protocol", True)
    run = snakemake(checkout, "--cores", "2", "results/sub01/optimal/images")
    assert run.returncode == 0, run.stderr
    released = {path.name for path in (results / "optimal/images").iterdir()}
    assert released == {name for name in named if not name.startswith("random_")}
