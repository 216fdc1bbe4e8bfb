"""The whole workflow on a toy subject: it runs, reruns exactly what an edit affects, and survives a kill."""

import ast
import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import vd_forms
from nsd_tree import write_tree
from toy_workflow import CLIP_DIM, N_TEST, N_TRAIN, command, edit_config, planned, snakemake, write_checkout

from brain_diffuser import arrays, pictures, regions

FEATURES = ("vdvae", "clip_text", "clip_vision")
RIDGE = {f"ridge:{feature}" for feature in FEATURES}


def judged(pictures):
    return {f"pixels:{pictures}", f"judged:{pictures}", "metrics", "report"}


AFTER_KERNEL = {"encoding_kernel", "encoding", "accuracy", "retrieval"}
AFTER_RECON = {*judged("recon"), "contact_sheet"}
AFTER_STAGE1 = {"recon", *judged("stage1"), *AFTER_RECON}
AFTER_VDVAE_RIDGE = {"stage1", *AFTER_STAGE1}
ALL_JUDGED = {rule for each in ("stage1", "recon", "mean_image", "vdvae", "autoencoder") for rule in judged(each)}


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A checkout in which everything has run; never changed."""
    checkout = write_checkout(tmp_path_factory.mktemp("workflow") / "checkout")
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode == 0, run.stderr
    assert "sub01: pictures in results/sub01/recon" in run.stderr
    return checkout


@pytest.fixture
def checkout(finished, tmp_path):
    """A copy to edit."""
    return shutil.copytree(finished, tmp_path / "moved", copy_function=shutil.copy2)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "benchmarks" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if "logs" not in path.parts}


def test_artifacts(finished):
    results = finished / "results/sub01"
    betas = arrays.load(results / "nsd/betas_test.h5")
    for folder in ("stage1", "recon"):
        ids, images = pictures.read_folder(results / folder, results / f"{folder}_manifest.tsv")
        assert ids.tolist() == betas.nsd_id.tolist()
        assert images.shape == (N_TEST, 16, 16, 3)
    for feature in FEATURES:
        train = arrays.load(results / f"features/{feature}_train.h5")
        predicted = arrays.load(results / f"ridge/{feature}_test.h5")
        assert len(train.values) == N_TRAIN
        assert predicted.values.shape == (N_TEST, *train.values.shape[1:])
    with open(results / "metrics/scores.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["pictures"] for row in rows} == {"stage1", "recon", "mean_image", "vdvae", "autoencoder"}
    assert all(-1 <= float(row["low"]) <= float(row["mean"]) <= float(row["high"]) <= 2 for row in rows)
    with open(results / "metrics/per_image_recon.csv", newline="") as stream:
        assert [int(row["nsd_id"]) for row in csv.DictReader(stream)] == betas.nsd_id.tolist()
    assert not list(finished.rglob("*.part-*"))


def test_drawn_graph_is_snakemakes(finished):
    """The report draws every way from job to job, but for those that a longer one implies."""
    found = snakemake(finished, "results/report.html", "--rulegraph")
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', found.stdout))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", found.stdout)}

    def reached(start, without):
        seen, waiting = set(), [start]
        while waiting:
            here = waiting.pop()
            following = {b for a, b in edges if a == here and (a, b) != without} - seen
            seen |= following
            waiting += following
        return seen

    (drawn,) = re.findall(r"STAGES = (\[.*?\n\])", (finished / "rules/report.smk").read_text(), re.S)
    assert set(ast.literal_eval(drawn)) == {(a, b) for a, b in edges if b not in reached(a, (a, b))}


def test_second_run_does_nothing(finished):
    before = digests(finished / "results")
    run = snakemake(finished, "--cores", "2")
    assert run.returncode == 0, run.stderr
    assert "Nothing to be done" in run.stdout + run.stderr
    assert digests(finished / "results") == before


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("recon.guidance_scale", 2.0, {"recon"} | AFTER_RECON),
        ("ridge.alpha.clip_text", 7.0, {"ridge:clip_text", "retrieval", "accuracy", "recon"} | AFTER_RECON),
        ("ridge.rescale", "none", {"retrieval", "accuracy"} | RIDGE | AFTER_VDVAE_RIDGE),
        ("ridge.precision", "float32", {"ridge_kernel", *AFTER_KERNEL} | RIDGE | AFTER_VDVAE_RIDGE),
        ("stage1.temperature", 0.5, {"vdvae_reference", *judged("vdvae")} | AFTER_VDVAE_RIDGE),
        (
            "features.vdvae.posterior",
            "sample",
            {"features:vdvae", "ridge:vdvae", "accuracy", "vdvae_reference", *judged("vdvae")} | AFTER_VDVAE_RIDGE,
        ),
        ("metrics.control_seed", 3, ALL_JUDGED),
        ("metrics.bootstrap", 30, {"metrics", "report"}),
        ("variants.without_text.text_weight", 0.1, set()),
        ("recon.steps", 4, set()),
        ("compute.batch_size.recon", 3, set()),
        ("demo.seed", 5, set()),
        ("features.keep", False, {"report"}),
    ],
)
def test_edited_key_reruns_what_depends_on_it(checkout, key, value, expected):
    edit_config(checkout, key, value)
    assert planned(checkout) == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("brain_diffuser/diffusion/ddim.py", {"recon", "autoencoder_reference", *judged("autoencoder")} | AFTER_RECON),
        ("brain_diffuser/metrics.py", ALL_JUDGED),
        ("brain_diffuser/stage1.py", {"vdvae_reference", *judged("vdvae")} | AFTER_VDVAE_RIDGE),
        ("brain_diffuser/ridge.py", {"ridge_kernel", *AFTER_KERNEL} | RIDGE | AFTER_VDVAE_RIDGE),
        ("workflow_scripts/contact_sheet.py", {"contact_sheet"}),
        ("demo/brain.py", set()),
    ],
)
def test_edited_module_reruns_the_rules_that_import_it(checkout, module, expected):
    with open(checkout / module, "a") as file:
        file.write("\nEDITED = True\n")
    assert planned(checkout) == expected


def test_edits_without_meaning_rerun_nothing(checkout):
    for path in [*checkout.rglob("*.py"), *checkout.rglob("*.smk")]:
        path.touch()
    ddim = checkout / "brain_diffuser/diffusion/ddim.py"
    ddim.write_text("# a comment\n" + ddim.read_text())
    config = checkout / "config.yaml"
    sections = config.read_text().split("\nrecon:")
    config.write_text(sections[0] + "\n# another comment\nrecon:" + sections[1])
    assert planned(checkout) == set()


def test_kill_leaves_no_half_artifact_and_the_next_run_completes(checkout):
    results = checkout / "results/sub01"
    untouched = digests(results / "ridge") | digests(results / "stage1")
    for key, value in (("recon.steps", 250), ("recon.strength", 1.0), ("compute.batch_size.recon", 1)):
        edit_config(checkout, key, value)
    run = subprocess.Popen(
        command("--cores", "2"),
        cwd=checkout,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 90
        while not list(results.glob("recon.part-*/*.png")):
            assert run.poll() is None, "the run ended before a picture was written"
            assert time.monotonic() < deadline, "no picture was written in time"
            time.sleep(0.05)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert not (results / "recon").exists()
    assert not (results / "recon_manifest.tsv").exists()
    edit_config(checkout, "recon.steps", 4)
    assert snakemake(checkout, "--unlock").returncode == 0
    again = snakemake(checkout, "--cores", "2")
    assert again.returncode == 0, again.stderr
    ids, _ = pictures.read_folder(results / "recon", results / "recon_manifest.tsv")
    assert len(ids) == N_TEST
    assert digests(results / "ridge") | digests(results / "stage1") == untouched
    assert not list(results.glob("*.part-*"))


def test_bad_input_ends_with_one_sentence_and_leaves_artifacts_alone(checkout):
    before = digests(checkout / "results")
    (session,) = checkout.glob("toy/nsd/nsddata_betas/**/betas_session02.nii.gz")
    session.write_bytes(session.read_bytes()[:20_000])
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode != 0
    (sentence,) = {line for line in run.stderr.splitlines() if line.startswith("rule nsd_betas: ")}
    assert "betas_session02.nii.gz" in sentence
    assert {path: digest for path, digest in digests(checkout / "results").items() if path in before} == {
        path: digest for path, digest in before.items() if "nsd/betas" not in path and "rois.h5" not in path
    }


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda root: edit_config(root, "recon.strength", 1.5), "config.yaml: recon.strength is 1.5; expected"),
        (lambda root: edit_config(root, "ridge.alhpa", 1), "config.yaml: ridge.alhpa is not a known key"),
        (lambda root: edit_config(root, "datasets.toy.vdvae", "no.th"), "datasets.toy.vdvae is no.th, which does not"),
        (lambda root: edit_config(root, "nsd.sessions", 3), "lacks betas_session03"),
        (lambda root: edit_config(root, "subjects", ["sub02"]), "lacks betas_session01"),
    ],
)
def test_wrong_configuration_stops_before_any_job(checkout, edit, sentence):
    edit(checkout)
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode != 0
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr
    assert "rule " not in run.stderr


def test_hdf5_betas_give_the_same_artifacts(finished, tmp_path):
    tree = write_tree(tmp_path / "nsd", sessions=2, n_train=N_TRAIN, n_test=N_TEST, formats=("hdf5",))
    other = shutil.copytree(finished, tmp_path / "hdf5", copy_function=shutil.copy2)
    for path in other.glob("toy/nsd/nsddata_betas/**/*.nii.gz"):
        path.unlink()
    for path in tree.betas.iterdir():
        (folder,) = other.glob("toy/nsd/nsddata_betas/ppdata/*/func1pt8mm/*")
        shutil.copy2(path, folder)
    run = snakemake(other, "--cores", "2", "results/sub01/nsd/betas_train.h5", "--forcerun", "nsd_betas")
    assert run.returncode == 0, run.stderr
    first, second = (arrays.load(root / "results/sub01/nsd/betas_train.h5") for root in (finished, other))
    assert json.dumps(first.nsd_id.tolist()) == json.dumps(second.nsd_id.tolist())
    assert first.values.tobytes() == second.values.tobytes()


def test_two_subjects_with_as_many_sessions_as_nsd_has(tmp_path):
    """Subject 1 has 40 sessions in mixed formats, subject 3 only 30 of its 32; features go when they are used up."""
    checkout = write_checkout(tmp_path / "checkout")
    shutil.rmtree(checkout / "toy/nsd")
    shown = {"sessions": 40, "n_train": N_TRAIN, "n_test": N_TEST}
    first = write_tree(checkout / "toy/nsd", subject=1, formats=("hdf5",), **shown)
    third = write_tree(checkout / "toy/nsd", subject=3, formats=("nii.gz",), **shown)
    again = write_tree(tmp_path / "again", subject=1, formats=("nii.gz",), **shown)
    for number in range(11, 41):
        shutil.move(again.session(number), first.session(number))
        first.session(number, "hdf5").unlink()
    for number in range(31, 41):
        third.session(number).unlink()
    edit_config(checkout, "subjects", ["sub01", "sub03"])
    edit_config(checkout, "features.keep", False)
    asked = [f"results/{subject}/recon" for subject in ("sub01", "sub03")]
    run = snakemake(checkout, "--cores", "2", *asked)
    assert run.returncode == 0, run.stderr
    for folder in asked:
        assert len(list((checkout / folder).glob("nsd*.png"))) == N_TEST
    assert not list(checkout.glob("results/*/features/*.h5"))
    for subject, sessions in (("sub01", 40), ("sub03", 30)):
        with open(checkout / f"results/{subject}/nsd/stimuli.tsv", newline="") as stream:
            trials = sum(int(row["n_repeats"]) for row in csv.DictReader(stream, delimiter="\t"))
        assert trials == 750 * sessions
    second = snakemake(checkout, "--cores", "2", *asked)
    assert "Nothing to be done" in second.stdout + second.stderr


def test_original_files_give_the_same_artifacts(checkout):
    """Versatile Diffusion as one of its authors' files, CLIP in one folder: the same numbers, by another road."""
    pictures_before = digests(checkout / "results/sub01/recon")
    assert sum(path.endswith(".png") for path in pictures_before) == N_TEST
    (checkout / "toy/original").mkdir()
    path = vd_forms.write(checkout / "toy/original", "old", text_dim=CLIP_DIM)
    clip = vd_forms.join_clip(checkout / "toy/versatile-diffusion", checkout / "toy/clip")
    for key, value in (("versatile_diffusion", path), ("clip", clip)):
        edit_config(checkout, f"datasets.toy.{key}", str(value.relative_to(checkout)))
    of_clip = {"features:clip_text", "features:clip_vision", "ridge:clip_text", "ridge:clip_vision"}
    of_diffusion = {"autoencoder_reference", *judged("autoencoder"), *AFTER_RECON}
    of_judge = {f"judged:{pictures}" for pictures in ("stage1", "mean_image", "vdvae")}
    assert planned(checkout) == {*of_clip, *AFTER_KERNEL, "recon", *of_diffusion, *of_judge}
    of_test_split = [f"results/sub01/features/{feature}_test.h5" for feature in ("clip_text", "clip_vision")]
    run = snakemake(checkout, "--cores", "2", "results/sub01/recon", *of_test_split)
    assert run.returncode == 0, run.stderr
    assert digests(checkout / "results/sub01/recon") == pictures_before
    assert planned(checkout) == {*of_diffusion, *of_judge}  # equal features: small files are compared by content
    with open(clip / "preprocessor_config.json", "a") as file:
        file.write("\n")
    assert {"features:clip_vision", "ridge:clip_vision", "recon"} < planned(checkout)
    assert not {"features:clip_text", "ridge:clip_text"} & planned(checkout)
    path.with_name("kl-f8.pth").unlink()
    assert "vd.pth; expected kl-f8.pth in the same folder, so put it there" in snakemake(checkout, "-n").stderr


def test_variants_share_what_comes_before_them(checkout):
    """Ablations and repeats make their own reconstructions and nothing that is there already."""
    edit_config(checkout, "variants", {"without_vdvae": {"start": "noise"}, "true_features": {"features": "own"}})
    edit_config(checkout, "report.ablations", True)
    targets = ("results/sub01/ablations", "results/sub01/consistency", "results/report.html")
    new = {"variant:without_vdvae", "variant:true_features", "variant:seed_1", "ablations", "consistency", "report"}
    scored = {f"{rule}:{variant}" for rule in ("pixels", "judged") for variant in ("without_vdvae", "true_features")}
    assert planned(checkout, *targets) == new | scored
    before = digests(checkout / "results")
    run = snakemake(checkout, "--cores", "2", *targets)
    assert run.returncode == 0, run.stderr
    assert "without VDVAE" in (checkout / "results/report.html").read_text()
    results = checkout / "results/sub01"
    with open(results / "ablations/scores.csv", newline="") as stream:
        sets = {row["pictures"] for row in csv.DictReader(stream)}
    assert sets == {"stage1", "recon", "mean_image", "vdvae", "autoencoder", "without_vdvae", "true_features"}
    with open(results / "consistency/consistency.csv", newline="") as stream:
        found = {(row["features"], row["measure"]): float(row["mean"]) for row in csv.DictReader(stream)}
    assert found["pix_corr", "between_repeats"] < 1
    assert found["clip", "variance"] > 0
    repeats = [
        pictures.read_folder(results / each, results / f"{each}_manifest.tsv")
        for each in ("recon", "variants/seed_1/recon", "variants/without_vdvae/recon")
    ]
    assert all(ids.tolist() == repeats[0][0].tolist() for ids, _ in repeats)
    assert not any((images == repeats[0][1]).all() for _, images in repeats[1:])
    after = digests(checkout / "results")
    assert {path for path, digest in before.items() if after[path] != digest} == {str(checkout / "results/report.html")}


def test_brain_correlation_makes_what_its_sets_need(checkout):
    def compared():
        run = snakemake(checkout, "--cores", "2", target)
        assert run.returncode == 0, run.stderr
        with open(checkout / target / "brain_correlation.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert all(-1 <= float(row["low"]) <= float(row["correlation"]) <= float(row["high"]) <= 1 for row in rows)
        return {(row["pictures"], row["region"]) for row in rows}

    target = "results/sub01/brain"
    of = {each: {f"brain_vision:{each}", f"brain_betas:{each}"} for each in ("recon", "stage1", "mean_image")}
    assert planned(checkout, target) == of["recon"] | of["stage1"] | {"brain"}
    named = list(regions.load(checkout / "results/sub01/nsd/regions.h5"))
    assert compared() == {(each, region) for each in ("stimulus", "recon", "stage1") for region in named}
    assert planned(checkout, target) == set()
    edit_config(checkout, "roi.brain", ["recon", "mean_image"])
    assert planned(checkout, target) == of["mean_image"] | {"brain"}
    assert {each for each, _ in compared()} == {"stimulus", "recon", "mean_image"}
    edit_config(checkout, "metrics.bootstrap", 30)
    assert planned(checkout, target) == {"brain"}
    edit_config(checkout, "recon.guidance_scale", 2.0)
    assert planned(checkout, target) == {"recon", *of["recon"], "brain"}


def test_a_judge_without_weights_stops_its_metrics_alone_and_at_once(checkout):
    edit_config(checkout, "metrics.judges", ["clip", "alexnet"])
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode != 0
    assert "judge alexnet needs torchvision, which is not installed; run pip install torchvision==0.28.0" in run.stderr
    (checkout / "torchvision").mkdir()
    (checkout / "torchvision/__init__.py").touch()  # as if it were
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode != 0
    assert "judge alexnet needs toy/judges/alexnet-owt-7be5be79.pth, which does not exist; put it there" in run.stderr
    assert "leave alexnet out of metrics.judges" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Finished job" not in run.stderr
    shutil.rmtree(checkout / "torchvision")
    for target in ("results/sub01/recon", "results/sub01/judged/recon/clip.csv"):
        other = snakemake(checkout, "--cores", "2", target)
        assert other.returncode == 0, other.stderr


def test_regions(checkout):
    """All of one subject's section on regions; what an edit affects; where nothing is changed nothing changes."""
    edit_config(checkout, "roi.pictures", 2)
    edit_config(checkout, "roi.contributions.draws", 2)
    edit_config(checkout, "report.regions", True)
    results = checkout / "results/sub01"
    run = snakemake(checkout, "--cores", "2", "results/sub01/roi", "results/sub01/weights/clip_text.h5")
    assert run.returncode == 0, run.stderr
    made = {path.name for path in (results / "roi").iterdir()}
    assert {"optimal.png", "perturbed.png", "decoding.csv", "lesions.svg", "weights.csv", "rois.png"} < made
    assert "brain_correlation.csv" in made
    first, *_ = pictures.read_manifest(results / "recon_manifest.tsv")
    unchanged = (results / f"perturbed/pictures/V1_nsd{first[1]:05d}_+0.png").read_bytes()
    assert hashlib.sha256(unchanged).hexdigest() == first[2]
    named = {path.name for path in (results / "optimal/pictures").iterdir()}
    assert {"rest_0.png", "faces_1.png", "random_faces_0.png"} <= named
    of_optimal = {*(f"optimal:{feature}" for feature in FEATURES), "optimal_pictures", "optimal_seen", "roi"}
    edit_config(checkout, "roi.gain", 0.5)
    assert planned(checkout, "results/sub01/roi") == of_optimal
    edit_config(checkout, "roi.gain", 1.0)
    edit_config(checkout, "roi.perturb.amounts", [-1.0, 0.0])
    of_perturbed = {*(f"perturbed:{feature}" for feature in FEATURES), "perturbed_pictures", "roi"}
    assert planned(checkout, "results/sub01/roi") == of_perturbed
    edit_config(checkout, "roi.perturb.amounts", [-4.0, -2.0, 0.0, 2.0, 4.0])
    assert planned(checkout, "results/sub01/roi") == set()
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode == 0, run.stderr
    assert 'id="regions"' in (checkout / "results/report.html").read_text()
    assert "Nothing to be done" not in run.stdout + run.stderr
    edit_config(checkout, "roi.regions.mine", {"mask": "my/{subject}.nii.gz"})
    run = snakemake(checkout, "-n", "results/sub01/roi")
    assert "roi.regions.mine reads my/sub01.nii.gz, which does not exist; put it there" in run.stderr
    edit_config(checkout, "roi.regions.mine", ["V1v"])
    edit_config(checkout, "roi.regions.nowhere", {"intersection": ["V1v", "V1d"]})
    run = snakemake(checkout, "--cores", "2", "results/sub01/roi")
    assert "region nowhere has 0 of" in run.stderr
    assert made == {path.name for path in (results / "roi").iterdir()}
