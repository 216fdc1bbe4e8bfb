"""The whole workflow on a toy subject: it runs, reruns exactly what an edit affects, and survives a kill."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import vd_forms
from nsd_tree import write_tree
from toy_workflow import (
    CLIP_DIM,
    N_TEST,
    N_TRAIN,
    command,
    digests,
    edit_config,
    graphs,
    planned,
    snakemake,
    write_checkout,
)

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.models import compiling

FEATURES = ("vdvae", "clip_text", "clip_vision")
RIDGE = {f"ridge:{feature}" for feature in FEATURES}


def perceptual_scores(images):
    return {f"pixels:{images}", f"perceptual_scores:{images}", "metrics", "report"}


AFTER_KERNEL = {"encoding_kernel", "encoding", "accuracy", "retrieval"}
AFTER_RECON = {*perceptual_scores("recon"), "contact_sheet"}
AFTER_STAGE1 = {"recon", *perceptual_scores("stage1"), *AFTER_RECON}
AFTER_VDVAE_RIDGE = {"stage1", *AFTER_STAGE1}
AFTER_RIDGE = {"encoding", "accuracy", "retrieval"} | RIDGE | AFTER_VDVAE_RIDGE
ALL_SCORED = {
    rule for each in ("stage1", "recon", "mean_image", "vdvae", "autoencoder") for rule in perceptual_scores(each)
}


def test_artifacts(finished):
    results = finished / "results/sub01"
    betas = hdf5.load(results / "data/betas_test.h5")
    for folder in ("stage1", "recon"):
        ids, images = image_files.read_folder(results / folder, results / f"{folder}_manifest.tsv")
        assert ids.tolist() == betas.nsd_id.tolist()
        assert images.shape == (N_TEST, 16, 16, 3)
    for feature in FEATURES:
        train = hdf5.load(results / f"features/{feature}_train.h5")
        predicted = hdf5.load(results / f"ridge/{feature}_test.h5")
        assert len(train.values) == N_TRAIN
        assert predicted.values.shape == (N_TEST, *train.values.shape[1:])
    with open(results / "metrics/scores.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["images"] for row in rows} == {"stage1", "recon", "mean_image", "vdvae", "autoencoder"}
    assert all(-1 <= float(row["low"]) <= float(row["mean"]) <= float(row["high"]) <= 2 for row in rows)
    with open(results / "metrics/per_image_recon.csv", newline="") as stream:
        assert [int(row["nsd_id"]) for row in csv.DictReader(stream)] == betas.nsd_id.tolist()
    assert not list(finished.rglob("*.part-*"))
    page = (finished / "results/report.html").read_text(encoding="utf-8")
    assert page.count(">stimulus through the VDVAE<") == 1  # the image set; the feature vdvae is another thing


def test_drawn_graph_is_snakemakes(finished):
    """The report draws every way from job to job, but for those that a longer one implies."""
    drawn, edges = graphs(finished)

    def reached(start, without):
        seen, waiting = set(), [start]
        while waiting:
            here = waiting.pop()
            following = {b for a, b in edges if a == here and (a, b) != without} - seen
            seen |= following
            waiting += following
        return seen

    assert drawn == {(a, b) for a, b in edges if b not in reached(a, (a, b))}


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
        ("stage1.temperature", 0.5, {"vdvae_reference", *perceptual_scores("vdvae")} | AFTER_VDVAE_RIDGE),
        (
            "features.vdvae.posterior",
            "sample",
            {"features:vdvae", "ridge:vdvae", "accuracy", "vdvae_reference", *perceptual_scores("vdvae")}
            | AFTER_VDVAE_RIDGE,
        ),
        (
            "features.clip_vision.levels",
            "paper",
            {"features:clip_vision", "ridge:clip_vision", "recon"} | AFTER_KERNEL | AFTER_RECON,
        ),
        ("metrics.control_seed", 3, ALL_SCORED),
        ("metrics.bootstrap", 30, {"metrics", "report"}),
        ("compute.compile", True, {"recon"} | AFTER_RECON),
        ("features.keep", False, {"report"}),
    ],
)
def test_edited_key_reruns_what_depends_on_it(checkout, key, value, expected):
    edit_config(checkout, key, value)
    assert planned(checkout) == expected


def test_edited_keys_that_no_result_depends_on_rerun_nothing(checkout):
    """All at once; if this fails, one of them counts."""
    for key, value in {
        "features.clip_vision": {},  # a configuration from before there was the key
        "variants.without_text.text_weight": 0.1,
        "recon.steps": 4,  # as it was
        "compute.batch_size.recon": 3,
        "demo.seed": 5,
    }.items():
        edit_config(checkout, key, value)
    assert planned(checkout) == set()


@pytest.mark.parametrize(
    ("module", "old", "new", "expected"),
    [
        (
            "brain_diffuser/generation/ddim.py",
            "    for t, t_below in zip",
            "    x = x * 1.0\n    for t, t_below in zip",
            {"recon"} | AFTER_RECON,
        ),
        (
            "brain_diffuser/evaluation/statistics.py",
            "BLOCK_ITEMS = 2**24",
            "BLOCK_ITEMS = 2**23",
            {job for job in ALL_SCORED if not job.startswith("pixels:")},
        ),
        (
            "brain_diffuser/generation/vdvae_stage.py",
            "U_RANGE = 1e-5",
            "U_RANGE = 1e-6",
            {"vdvae_reference", *perceptual_scores("vdvae")} | AFTER_VDVAE_RIDGE,
        ),
        ("brain_diffuser/decoding/ridge_stream.py", "WIDEST_BLOCK = 2048", "WIDEST_BLOCK = 1024", AFTER_RIDGE),
        (
            "brain_diffuser/decoding/ridge.py",
            "of_train = add_gram(1.0",
            "of_train = add_gram(2.0",
            {"ridge_kernel", *AFTER_KERNEL} | RIDGE | AFTER_VDVAE_RIDGE,
        ),
        ("workflow_scripts/reporting/contact_sheet.py", '"stage 1",', '"first",', {"contact_sheet"}),
        ("demo/brain.py", "N_OTHER = 4240", "N_OTHER = 4241", set()),
    ],
)
def test_edited_definition_reruns_the_rules_that_reach_it(checkout, module, old, new, expected):
    text = (checkout / module).read_text()
    assert old in text
    (checkout / module).write_text(text.replace(old, new, 1))
    assert planned(checkout) == expected


def test_edits_without_meaning_rerun_nothing(checkout):
    for path in [*checkout.rglob("*.py"), *checkout.rglob("*.smk")]:
        path.touch()
    ddim = checkout / "brain_diffuser/generation/ddim.py"
    ddim.write_text("# a comment\n" + ddim.read_text() + "\nUNUSED = True\n")
    config = checkout / "config.yaml"
    sections = config.read_text().split("\nrecon:")
    config.write_text(sections[0] + "\n# another comment\nrecon:" + sections[1])
    assert planned(checkout) == set()


def test_kill_leaves_no_half_artifact_and_the_next_run_completes(checkout):
    results = checkout / "results/sub01"
    untouched, earlier = digests(results / "ridge") | digests(results / "stage1"), digests(results / "recon")
    for key, value in (("recon.steps", 50), ("shards.recon", 4)):
        edit_config(checkout, key, value)
    run = subprocess.Popen(
        command("--cores", "1"),  # one shard after the other
        cwd=checkout,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 240
        while not (shards := list(results.glob("shards/recon/*.h5"))) or not list(
            results.glob("shards/recon/*.part-*")
        ):
            assert run.poll() is None, "the run ended before a shard was written"
            assert time.monotonic() < deadline, "no second shard was begun in time"
            time.sleep(0.02)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert digests(results / "recon") == earlier
    written = shards[0].read_bytes()
    assert snakemake(checkout, "--unlock").returncode == 0
    again = snakemake(checkout, "--cores", "2", "--notemp", "results/sub01/recon")
    assert again.returncode == 0, again.stderr
    assert len(re.findall(r"^(?:local)?rule recon_shard:", again.stderr, re.M)) == 1
    assert shards[0].read_bytes() == written
    ids, _ = image_files.read_folder(results / "recon", results / "recon_manifest.tsv")
    assert len(ids) == N_TEST
    assert digests(results / "ridge") | digests(results / "stage1") == untouched
    assert not list(results.glob("*.part-*"))


def test_what_a_failed_job_should_have_made_is_made_by_the_next_run(checkout):
    """Although its parameters and inputs are those that Snakemake has recorded, and earlier results are still there."""
    edit_config(checkout, "ridge.alpha.clip_text", 9.0)
    edit_config(checkout, "compute.device", "cuda")  # there is none; no result depends on it
    run = snakemake(checkout, "--cores", "2", "results/sub01/recon")
    assert run.returncode != 0
    assert "rule recon_shard: compute.device is cuda, but torch sees no such GPU here" in run.stderr
    edit_config(checkout, "compute.device", "cpu")
    assert {"recon"} == planned(checkout, "results/sub01/recon")
    run = snakemake(checkout, "--cores", "2", "results/sub01/recon")
    assert run.returncode == 0, run.stderr
    assert planned(checkout, "results/sub01/recon") == set()


@pytest.mark.long
@pytest.mark.skipif(not shutil.which(compiling.USUAL_COMPILER), reason="no C++ compiler is here, which torch needs")
def test_compiled_networks_make_the_images_again(checkout, monkeypatch):
    """By torch's own compiler, which takes a minute."""
    made = checkout / "results/sub01/recon", checkout / "results/sub01/recon_manifest.tsv"
    _, before = image_files.read_folder(*made)
    edit_config(checkout, "compute.compile", True)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(checkout / "compiled"))
    run = snakemake(checkout, "--cores", "1", "results/sub01/recon")
    assert run.returncode == 0, run.stderr
    _, after = image_files.read_folder(*made)
    differences = np.abs(after.astype(int) - before)
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.01
    assert list((checkout / "compiled").rglob("*.so")), "nothing was compiled"


def test_shards_do_not_change_an_artifact(finished, checkout):
    """Byte for byte, where batches end with the shards; within a grey level where they do not."""

    def made(root):
        """What comes of shards, and what follows from it to the byte."""
        here = root / "results/sub01"
        known = {str(Path(path).relative_to(here)): digest for path, digest in digests(here).items()}
        names = ("features/", "ridge/", "stage1", "recon", "perceptual_scores/")
        return {path: digest for path, digest in known.items() if path.startswith(names)}

    for key, size in (("features", 8), ("stage1", 4), ("recon", 4), ("perceptual_scores", 6)):
        edit_config(checkout, f"shards.{key}", size)
    run = snakemake(checkout, "--cores", "2", "results/sub01/perceptual_scores/recon/clip.csv")
    assert run.returncode == 0, run.stderr
    counted = dict(re.findall(r"^(\w+_shard) +(\d+)$", run.stderr, re.M))
    expected = {"features": 3 * 2, "stage1": 2, "recon": 2, "perceptual_scores": 2}
    assert counted == {f"{stage}_shard": str(number) for stage, number in expected.items()}
    assert made(checkout) == made(finished)
    assert not list(checkout.rglob("shards/**/*.h5"))
    edit_config(checkout, "shards.recon", 3)
    run = snakemake(checkout, "--cores", "2", "results/sub01/recon")
    assert run.returncode == 0, run.stderr
    (_, found), (_, one) = (
        image_files.read_folder(root / "results/sub01/recon", root / "results/sub01/recon_manifest.tsv")
        for root in (checkout, finished)
    )
    assert np.abs(found.astype(int) - one).max() <= 1


def test_bad_input_ends_with_one_sentence_and_leaves_artifacts_alone(checkout):
    before = digests(checkout / "results")
    (session,) = checkout.glob("toy/nsd/nsddata_betas/**/betas_session02.nii.gz")
    session.write_bytes(session.read_bytes()[:20_000])
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode != 0
    (sentence,) = {line for line in run.stderr.splitlines() if line.startswith("rule betas: ")}
    assert "betas_session02.nii.gz" in sentence
    assert {path: digest for path, digest in digests(checkout / "results").items() if path in before} == {
        path: digest for path, digest in before.items() if "data/betas" not in path and "rois.h5" not in path
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


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("sub02/recon", ": sub02 is not among the subjects of config.yaml, sub01; add"),
        ("sub01/recn", " is made by no rule; did you mean results/sub01/recon?"),
        ("sub01/ridge/vdvea_test.h5", " is made by no rule; did you mean results/sub01/ridge/vdvae_test.h5?"),
        ("bundles/", " is made by no rule; did you mean results/bundle?"),
        ("sub01/else", " is made by no rule; results/README.md has what rules make"),
    ],
)
def test_a_target_of_nobody_stops_before_any_job(finished, target, sentence):
    run = snakemake(finished, "--cores", "2", f"results/{target}")
    assert run.returncode != 0
    assert f"\nresults/{target}{sentence}" in run.stderr
    assert "Traceback" not in run.stderr


def test_hdf5_betas_give_the_same_artifacts(finished, tmp_path):
    tree = write_tree(tmp_path / "nsd", sessions=2, n_train=N_TRAIN, n_test=N_TEST, formats=("hdf5",))
    other = shutil.copytree(finished, tmp_path / "hdf5", copy_function=shutil.copy2)
    for path in other.glob("toy/nsd/nsddata_betas/**/*.nii.gz"):
        path.unlink()
    for path in tree.betas.iterdir():
        (folder,) = other.glob("toy/nsd/nsddata_betas/ppdata/*/func1pt8mm/*")
        shutil.copy2(path, folder)
    run = snakemake(other, "--cores", "2", "results/sub01/data/betas_train.h5", "--forcerun", "betas")
    assert run.returncode == 0, run.stderr
    first, second = (hdf5.load(root / "results/sub01/data/betas_train.h5") for root in (finished, other))
    assert json.dumps(first.nsd_id.tolist()) == json.dumps(second.nsd_id.tolist())
    assert first.values.tobytes() == second.values.tobytes()


@pytest.mark.workflow
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
    asked = [f"results/{subject}/stage1" for subject in ("sub01", "sub03")]
    run = snakemake(checkout, "--cores", "2", *asked)
    assert run.returncode == 0, run.stderr
    for folder in asked:
        assert len(list((checkout / folder).glob("nsd*.png"))) == N_TEST
    assert not list(checkout.glob("results/*/features/*.h5"))
    for subject, sessions in (("sub01", 40), ("sub03", 30)):
        with open(checkout / f"results/{subject}/data/stimuli.tsv", newline="") as stream:
            trials = sum(int(row["n_repeats"]) for row in csv.DictReader(stream, delimiter="\t"))
        assert trials == 750 * sessions
    second = snakemake(checkout, "--cores", "2", *asked)
    assert "Nothing to be done" in second.stdout + second.stderr


def test_original_files_give_the_same_artifacts(checkout):
    """Versatile Diffusion as one of its authors' files, CLIP in one folder: the same numbers, by another road."""
    images_before = digests(checkout / "results/sub01/recon")
    assert sum(path.endswith(".png") for path in images_before) == N_TEST
    (checkout / "toy/original").mkdir()
    path = vd_forms.write(checkout / "toy/original", "old", text_dim=CLIP_DIM)
    clip = vd_forms.join_clip(checkout / "toy/versatile-diffusion", checkout / "toy/clip")
    for key, value in (("versatile_diffusion", path), ("clip", clip)):
        edit_config(checkout, f"datasets.toy.{key}", str(value.relative_to(checkout)))
    of_clip = {"features:clip_text", "features:clip_vision", "ridge:clip_text", "ridge:clip_vision"}
    of_diffusion = {"autoencoder_reference", *perceptual_scores("autoencoder"), *AFTER_RECON}
    of_network = {f"perceptual_scores:{images}" for images in ("stage1", "mean_image", "vdvae")}
    assert planned(checkout) == {*of_clip, *AFTER_KERNEL, "recon", *of_diffusion, *of_network}
    of_test_split = [f"results/sub01/features/{feature}_test.h5" for feature in ("clip_text", "clip_vision")]
    run = snakemake(checkout, "--cores", "2", "results/sub01/recon", *of_test_split)
    assert run.returncode == 0, run.stderr
    assert digests(checkout / "results/sub01/recon") == images_before
    of_reference = {"autoencoder_reference", *perceptual_scores("autoencoder")}
    assert planned(checkout) == {
        *of_reference,
        *of_network,
        "perceptual_scores:recon",
    }  # the same reconstructions run nothing else
    with open(clip / "preprocessor_config.json", "a") as file:
        file.write("\n")
    assert {"features:clip_vision", "ridge:clip_vision", "recon"} < planned(checkout)
    assert not {"features:clip_text", "ridge:clip_text"} & planned(checkout)
    path.with_name("kl-f8.pth").unlink()
    assert "vd.pth; expected kl-f8.pth in the same folder, so put it there" in snakemake(checkout, "-n").stderr


def test_an_evaluation_network_without_weights_stops_its_metrics_alone_and_at_once(checkout):
    edit_config(checkout, "metrics.networks", ["clip", "alexnet"])
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode != 0
    assert (
        "evaluation network alexnet needs torchvision, which is not installed; run pip install torchvision==0.28.0"
        in run.stderr
    )
    (checkout / "torchvision").mkdir()
    (checkout / "torchvision/__init__.py").touch()  # as if it were
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode != 0
    assert (
        "evaluation network alexnet needs toy/evaluation_networks/alexnet-owt-7be5be79.pth, which does not exist; "
        "put it there" in run.stderr
    )
    assert "leave alexnet out of metrics.networks" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Finished job" not in run.stderr
    shutil.rmtree(checkout / "torchvision")
    for target in ("results/sub01/recon", "results/sub01/perceptual_scores/recon/clip.csv"):
        other = snakemake(checkout, "--cores", "2", target)
        assert other.returncode == 0, other.stderr
