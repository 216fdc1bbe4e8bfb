"""A new backbone is one file and one entry of the registry: docs/extend.md, "A backbone", on the toy subject."""

import shutil

import pytest
from toy_workflow import edit_config, example, planned, snakemake

FILE = example("extend.md", "A backbone", "python")
REGISTRY = "brain_diffuser/generation/registry.py"
TARGET = "results/sub01/variants/finetuned/recon"

pytestmark = pytest.mark.workflow


def test_a_variant_has_a_new_backbone_and_nothing_else_runs_again(checkout):
    (checkout / "brain_diffuser/generation/finetuned.py").write_text(FILE)
    text = (checkout / REGISTRY).read_text()
    text = text.replace("import stable_diffusion", "import finetuned, stable_diffusion")
    text = text.replace("BACKBONES = {\n", 'BACKBONES = {\n    "finetuned": finetuned.BACKBONE,\n')
    (checkout / REGISTRY).write_text(text)
    edit_config(checkout, "variants.finetuned", {"backbone": "finetuned"})
    edit_config(checkout, "datasets.toy.finetuned", "toy/finetuned")
    assert planned(checkout) == set()
    refused = snakemake(checkout, "-n", TARGET).stderr
    assert "datasets.toy.finetuned leads to toy/finetuned/unet, which does not exist" in refused

    shutil.copytree(checkout / "toy/stable-diffusion", checkout / "toy/finetuned")
    assert planned(checkout, TARGET) == {"features:sd_text", "ridge:sd_text", "variant:finetuned"}
    run = snakemake(checkout, "--cores", "2", TARGET)
    assert run.returncode == 0, run.stderr
    assert planned(checkout) == planned(checkout, TARGET) == set()
    assert len(list((checkout / TARGET).glob("*.png"))) == 8
