"""Missing sources are one sentence before any job, also where what was made of them is still there."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from toy_workflow import ROOT, digests, edit_config, snakemake

from brain_diffuser.workflow import source_files

ROIS = "toy/nsd/nsddata/ppdata/subj01/func1pt8mm/roi"
BETAS = "toy/nsd/nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
STIMULI = "toy/nsd/nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
DESIGN = "toy/nsd/nsddata/experiments/nsd/nsd_expdesign.mat"
DIFFUSION = "toy/versatile-diffusion"
NOT_THERE = "which does not exist (nothing was changed);"


def test_what_is_there_is_no_problem(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    for path in ("folder", "folder/file"):
        assert source_files.problem("nsd.mask", str(tmp_path / path)) is None
    assert source_files.problem("nsd.mask", "to/be/made.h5", {"to/be/made.h5"}) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("rois/V1.nii", f"rois/V1.nii, {NOT_THERE} did you mean V1.nii.gz?"),
        ("rios/V1.nii.gz", f"rios/V1.nii.gz, {NOT_THERE} did you mean rois?"),
        ("other/V1.nii.gz", f"other/V1.nii.gz, {NOT_THERE} put it there or correct the path"),
        ("rois/V1.nii.gz/deeper", f"rois/V1.nii.gz/deeper, {NOT_THERE} put it there or correct the path"),
        ("empty", "empty, which is an empty folder (nothing was changed); put it there or correct the path"),
        ("link", "link, which is a link to nowhere, which does not exist (nothing was changed); put it there or"),
        ("made/masc", f"made/masc, {NOT_THERE} did you mean mask?"),
        ("no\0name", None),
    ],
)
def test_sentences(tmp_path, monkeypatch, path, expected):
    monkeypatch.chdir(tmp_path)
    for folder in ("rois", "empty"):
        Path(folder).mkdir()
    Path("rois/V1.nii.gz").touch()
    Path("link").symlink_to("nowhere")
    if expected is None:
        with pytest.raises(ValueError, match="null"):
            source_files.problem("nsd.mask", path)
        return
    found = source_files.problem("nsd.mask", path, {"made/mask"})
    assert found
    assert found.startswith(f"config.yaml: nsd.mask leads to {expected}")


def test_a_file_of_a_hub_cache_names_the_snapshot(tmp_path):
    snapshot = tmp_path / "models--owner--model/snapshots/0a1b"
    snapshot.mkdir(parents=True)
    found = source_files.problem("datasets.nsd.clip", str(tmp_path / "models--owner--model/config.json"))
    assert found
    assert f"it is a folder of a hub's cache, so name its snapshot, {snapshot}" in found


def test_a_link_of_a_hub_cache_without_its_file(tmp_path):
    (tmp_path / "config.json").symlink_to("../../blobs/0a1b")
    found = source_files.problem("datasets.nsd.clip", str(tmp_path / "config.json"))
    assert found
    assert "is a link to ../../blobs/0a1b, which does not exist (nothing was changed); put it there or copy" in found


def test_what_may_not_be_read(monkeypatch):
    stat = os.stat

    def refused(path, **options):
        if path == "a/mask":
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refused)
    found = source_files.problem("nsd.mask", "a/mask")
    assert found
    assert "a/mask, which cannot be read (Permission denied) (nothing was changed);" in found


def remove(path):
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def rename(path, name):
    return lambda root: (root / path).rename((root / path).with_name(name))


def empty(path):
    def of(root):
        shutil.rmtree(root / path)
        (root / path).mkdir()

    return of


def turn(path):
    def of(root):
        (root / path).unlink()
        (root / path).symlink_to("another")

    return of


@pytest.mark.parametrize(
    ("broken", "expected", "other"),
    [
        (
            lambda root: edit_config(root, "nsd.mask", "nsdgenral"),
            f"nsd.mask leads to {ROIS}/nsdgenral.nii.gz, {NOT_THERE} did you mean nsdgeneral.nii.gz?",
            "data/captions.json",
        ),
        (
            rename(f"{ROIS}/streams.nii.gz", "stream.nii.gz"),
            f"nsd.rois leads to {ROIS}/streams.nii.gz, {NOT_THERE} did you mean stream.nii.gz?",
            "data/stimuli_test.h5",
        ),
        (remove(DESIGN), f"datasets.toy.nsd leads to {DESIGN}, {NOT_THERE} put it there or correct the path", None),
        (remove(f"{BETAS}/betas_session01.nii.gz"), f"{BETAS} lacks betas_session01.hdf5 or", None),
        (remove(f"{BETAS}/betas_session02.nii.gz"), "nsd.sessions is all, and session 2 of sub01, which an", None),
        (remove(STIMULI), f"datasets.toy.nsd leads to {STIMULI}, {NOT_THERE}", "data/regions.h5"),
        (turn(STIMULI), f"datasets.toy.nsd leads to {STIMULI}, which is a link to another, which", "ridge/kernel.h5"),
        (
            lambda root: edit_config(root, "datasets.toy.captions", "toy/nsd/annots/COCO_73k_anots_curated.json"),
            "datasets.toy.captions is toy/nsd/annots/COCO_73k_anots_curated.json, which does not exist; did you mean",
            None,
        ),
        (remove("toy/vdvae/vdvae.safetensors"), "datasets.toy.vdvae is toy/vdvae/vdvae.safetensors, which does", None),
        (remove("toy/vdvae/vdvae.json"), "for the published network, and vdvae.json, which describes another", None),
        (
            remove(f"{DIFFUSION}/vae"),
            f"datasets.toy.versatile_diffusion leads to {DIFFUSION}/vae, {NOT_THERE}",
            "stage1",
        ),
        (empty(f"{DIFFUSION}/text_unet"), f"{DIFFUSION}/text_unet, which is an empty folder", "ridge/vdvae_test.h5"),
        (rename(f"{DIFFUSION}/tokenizer", "tokeniser"), f"{DIFFUSION}/tokenizer, {NOT_THERE}", "stage1"),
    ],
)
def test_a_missing_source_stops_what_depends_on_it(checkout, broken, expected, other):
    """Although every result is there; nothing of them changes, and what depends on other sources is left in peace."""
    before = digests(checkout / "results")
    broken(checkout)
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode == 1
    (sentence,) = (line for line in run.stderr.splitlines() if expected in line)
    assert sentence.startswith(("config.yaml: ", f"{BETAS} lacks"))
    assert "Traceback" not in run.stderr
    assert digests(checkout / "results") == before
    if other:
        found = snakemake(checkout, "-n", f"results/sub01/{other}")
        assert found.returncode == 0, found.stderr
        assert "Nothing to be done" in found.stdout + found.stderr


def test_an_evaluation_network_whose_network_is_gone_stops_its_scores_alone(checkout):
    (checkout / "toy/clip").mkdir()
    for name in ("image_encoder", "image_feature_extractor", "text_encoder", "tokenizer"):
        (checkout / "toy/clip" / name).symlink_to(checkout / DIFFUSION / name)
    edit_config(checkout, "datasets.toy.clip", "toy/clip")
    (checkout / "toy/clip/image_encoder").unlink()
    run = snakemake(checkout, "-n", "results/sub01/perceptual_scores/recon/clip.csv")
    assert run.returncode == 1
    assert "toy/clip/image_encoder, which does not exist" in run.stdout + run.stderr
    other = snakemake(checkout, "-n", "results/sub01/perceptual_scores/mean_image/pixels.csv")
    assert other.returncode == 0, other.stderr


@pytest.mark.workflow
def test_the_demo_makes_its_sources_and_no_others(tmp_path):
    """What its rules write need not be there; a mask that they do not write is missing."""
    for path in ROOT.iterdir():
        if not path.name.startswith(("results", "data", ".")):
            (tmp_path / path.name).symlink_to(path)
    asked = ("-n", "results/sub01/data/betas_train.h5")
    assert snakemake(tmp_path, *asked).returncode == 0
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump({"nsd": {"mask": "nsdgenral"}}))
    run = snakemake(tmp_path, *asked, "--configfile", "typo.yaml")
    assert run.returncode == 1
    found = run.stdout + run.stderr
    assert f"nsdgenral.nii.gz, {NOT_THERE} did you mean nsdgeneral.nii.gz?" in found
