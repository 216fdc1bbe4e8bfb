"""docs/your_data.md, followed to the letter by a lab with data of its own."""

import csv
import re
import shlex
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from toy_workflow import ROOT, copy_project, interpreter

from brain_diffuser.artifacts import hdf5, image_files

pytestmark = pytest.mark.workflow

TUTORIAL = ROOT / "docs/your_data.md"
N_TRAIN, N_TEST = 12, 4
SHAPE = 5, 4, 3


def write_lab(folder: Path) -> None:
    """What the tutorial says the lab has: images shown twice, and those of the test three times."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    names = [f"{number:03d}.png" for number in range(N_TRAIN + N_TEST)]
    for name in names:
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((96, 96)).save(folder / "images" / name)
    order = [*names, *rng.permutation(names), *names[N_TRAIN:]]
    with open(folder / "log.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["time", "run", "image"])
        table.writerows([4.0 * row, 1 + row // 20, name] for row, name in enumerate(order))
    np.save(folder / "betasmd.npy", rng.normal(0, 1, (*SHAPE, len(order))))
    nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.diag([2, 2, 2, 1])).to_filename(folder / "brainmask.nii.gz")


def test_the_tutorial_to_the_letter(tmp_path):
    checkout = copy_project(tmp_path / "checkout")
    write_lab(checkout / "lab")
    (section,) = re.findall(r"^## An hour\n(.*?)^## ", TUTORIAL.read_text(encoding="utf-8"), re.M | re.S)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", section, re.M | re.S)
    assert [kind for kind, _ in blocks] == ["python", "sh", "yaml", "sh", "sh"]
    for kind, text in blocks:
        if kind == "sh":
            program, *arguments = shlex.split(text)
            called = [interpreter(), *(["-m", "snakemake"] if program == "snakemake" else []), *arguments]
            run = subprocess.run(called, cwd=checkout, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr
        else:
            (name,) = re.findall(r"^# (\S+)\n", text)
            (checkout / name).write_text(text)
    results = checkout / "results_custom/sub01"
    ids, images = image_files.read_folder(results / "recon", results / "recon_manifest.tsv")
    assert ids.tolist() == hdf5.load(results / "data/betas_test.h5").nsd_id.tolist()
    assert len(images) == N_TEST
    assert (results / "contact_sheet.png").is_file()
    assert len(hdf5.load(results / "data/betas_train.h5").values) == N_TRAIN
