"""The demo's known brain: regions' images and lesions show what was put into them, beside as many random voxels."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from toy_workflow import ROOT, copy_project, edit_config, snakemake

from brain_diffuser.artifacts import captions, image_files
from brain_diffuser.evaluation import registry
from brain_diffuser.regions import category_probe
from demo import brain

pytestmark = pytest.mark.workflow

CATEGORIES = {"face": "faces", "words": "words", "place": "places", "body": "bodies"}
BANDS = ("ecc_0.5", "ecc_1", "ecc_2", "ecc_4", "ecc_beyond")


def link(source: str, target: str) -> str:
    """Results are large and never written in place, but for logs."""
    if Path(source).suffix in (".log", ".tsv"):
        return shutil.copy2(source, target)
    os.link(source, target)
    return target


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the demo finds of a few regions; what `make recon` has left here is taken over, all else is made."""
    checkout = tmp_path_factory.mktemp("demo") / "checkout"
    copy_project(checkout)
    for folder in ("results/demo", "results/sub01", ".snakemake/metadata"):
        if (ROOT / folder).is_dir():
            try:
                shutil.copytree(ROOT / folder, checkout / folder, copy_function=link)
            except shutil.Error:  # another file system
                shutil.copytree(ROOT / folder, checkout / folder, dirs_exist_ok=True)
    edit_config(checkout, "roi.optimal", [*CATEGORIES.values(), *BANDS])
    edit_config(checkout, "roi.images", 2)
    edit_config(checkout, "roi.lesions.regions", list(CATEGORIES.values()))
    edit_config(checkout, "roi.lesions.columns", 512)
    for steps, *targets in ((50, "recon"), (12, "optimal/images", "lesions/clip_text")):  # regions show in fewer steps
        edit_config(checkout, "recon.steps", steps)
        run = snakemake(checkout, "--cores", "all", *(f"results/sub01/{target}" for target in targets))
        assert run.returncode == 0, run.stderr
    return checkout / "results/sub01"


@pytest.fixture(scope="module")
def probability(results, tmp_path_factory):
    """What an evaluation network sees in each optimal image, {image: {category: probability}}."""
    folder = tmp_path_factory.mktemp("category_probe")
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    files = (ROOT / config["datasets"]["demo"][key] for key in ("evaluation_networks", "clip"))
    network = registry.load(config["roi"]["network"], config["metrics"]["protocol"], *files, torch.device("cpu"))
    category_probe.write(
        folder,
        network.first_features,
        config["roi"]["lesions"]["categories"],
        captions.read(results / "data/captions.json"),
        {split: results / f"data/stimuli_{split}.h5" for split in ("train", "test")},
        {
            name: (results / path, results / f"{path}_manifest.tsv")
            for name, path in (("optimal", "optimal/images"), ("recon", "recon"))
        },
    )
    return {row["image"]: row for row in read(folder / "category_probe.csv")}


def read(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_areas_of_categories_make_images_of_their_category(probability):
    regions = {name.rpartition("_")[0] for name in probability} - {"rest"}
    assert {f"random_{area}" for area in CATEGORIES.values()} < regions
    for category, area in CATEGORIES.items():
        means = {
            region: np.mean([float(probability[f"{region}_{number}.png"][category]) for number in (0, 1)])
            for region in regions
        }
        assert means[area] == max(means.values()), (category, means)
        assert means[area] > 0.4, (category, means)
        assert means[area] > np.mean([mean for name, mean in means.items() if name.startswith("random_")]) + 0.3


def test_bands_of_eccentricity_make_images_with_contrast_there(results):
    """In units of how images of as many random voxels vary, contrast is highest in a band's own ring.

    The two innermost may reach into the next: they are half a degree wide, and a place of the UNet's latents is 0.5.
    """
    folder = results / "optimal"
    listed = image_files.read_manifest(folder / "images_manifest.tsv")
    _, images = image_files.read_folder(folder / "images", folder / "images_manifest.tsv")
    energy = brain.low_level_maps(images)[:, :12].mean(1)  # (images, MAP, MAP)
    degrees = (np.arange(brain.MAP) + 0.5) / brain.MAP * brain.DEGREES - brain.DEGREES / 2
    ring = np.digitize(np.hypot(*np.meshgrid(degrees, degrees)), brain.ECCENTRICITY_BANDS)
    contrast = np.log(np.stack([energy[:, ring == each].mean(1) for each in range(5)], axis=1))
    is_random = np.array([name.startswith("random_") for name, _, _ in listed])
    z = (contrast - contrast[is_random].mean(0)) / contrast[is_random].std(0)
    for own, band in enumerate(BANDS):
        here = np.mean(
            [row for row, (name, _, _) in zip(z, listed, strict=True) if name.startswith(f"{band}_")], axis=0
        )
        assert here.argmax() - own in ((0, 1) if own < 2 else (0,)), (band, here)
        assert here[own] > 1, (band, here)


def test_a_lesion_hurts_its_own_category_and_random_voxels_do_not(results):
    rows = read(results / "lesions/clip_text/lesions.csv")
    drop = {(row["category"], row["region"]): float(row["drop"]) for row in rows}
    control = {(row["category"], row["region"]): float(row["drop_random_high"]) for row in rows}
    for category, area in CATEGORIES.items():
        others = [other for other in CATEGORIES.values() if other != area]
        assert drop[category, area] > 3 * max(control[category, area], 0.1)
        assert drop[category, area] > 0.5
        assert drop[category, area] > 2 * max(drop[category, other] for other in others)
        assert drop[category, area] > max(drop[each, area] for each in CATEGORIES if each != category) + 0.3
