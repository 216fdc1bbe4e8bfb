"""A new backbone is one file and one entry of the registry: docs/extend.md, "A backbone", on the toy subject."""

import shutil

import pytest
from tiny_adapter import write_adapters
from toy_workflow import edit_config, example, planned, snakemake

from brain_diffuser.artifacts.tables import read_csv

FILE = example("extend.md", "A backbone", "python")
REGISTRY = "brain_diffuser/generation/registry.py"
TARGET = "results/sub01/variants/finetuned/recon"

pytestmark = pytest.mark.workflow


def test_a_variant_has_a_new_backbone_and_nothing_else_runs_again(checkout):
    (checkout / "brain_diffuser/generation/finetuned.py").write_text(FILE)
    text = (checkout / REGISTRY).read_text()
    text = text.replace("import ip_adapter", "import finetuned, ip_adapter")
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
    check_adapter(checkout)


def check_adapter(checkout):
    """An adapter on the model that the decoded text is of needs one feature more, and has tables beside recon."""
    tables = ["results/sub01/generators", "results/sub01/generators_paired"]
    edit_config(checkout, "variants", {name: {"backbone": name} for name in ("finetuned", "ip_adapter_sd15")})
    refused = snakemake(checkout, "-n", *tables).stderr
    assert "feature clip_h_pooled is read from datasets.toy.ip_adapter, which is missing; add that key" in refused
    edit_config(checkout, "datasets.toy.ip_adapter", "toy/ip-adapter")
    adapter = write_adapters(checkout / "toy/ip-adapter", checkout / "toy/stable-diffusion", is_xl=False, is_plus=False)
    moved = adapter.rename(adapter.with_suffix(".bin.safetensors"))
    refused = snakemake(checkout, "-n", *tables).stderr
    assert (
        "datasets.toy.ip_adapter leads to toy/ip-adapter/models/ip-adapter_sd15.safetensors, which does not" in refused
    )
    moved.rename(adapter)
    assert planned(checkout) == set()
    made = {"features:clip_h_pooled", "ridge:clip_h_pooled", "variant:ip_adapter_sd15"}
    found = planned(checkout, *tables)
    assert made <= found
    assert not any(job.startswith(("recon", "stage1", "ridge:sd_text")) for job in found)
    run = snakemake(checkout, "--cores", "2", *tables)
    assert run.returncode == 0, run.stderr
    assert planned(checkout, *tables) == set()
    assert len(list((checkout / "results/sub01/variants/ip_adapter_sd15/recon").glob("*.png"))) == 8
    rows = read_csv(checkout / tables[1] / "differences.csv")
    assert {(row["images"], row["against"]) for row in rows} == {("finetuned", "recon"), ("ip_adapter_sd15", "recon")}
    assert "ip_adapter_sd15" in {row["images"] for row in read_csv(checkout / tables[0] / "scores.csv")}
