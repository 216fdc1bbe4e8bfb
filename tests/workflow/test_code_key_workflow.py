"""What an edit of the code runs again in a finished workflow: everything that it can change, and nothing else."""

import re

import pytest
from toy_workflow import planned, snakemake

CODE = "brain_diffuser"

MEANINGLESS = {
    "version": (f"{CODE}/__init__.py", '"0.1.0"', '"0.1.1"'),
    "error_in_arrays": (
        f"{CODE}/artifacts/hdf5.py",
        "is missing; expected an HDF5 file",
        "is not there; expected an HDF5 file",
    ),
    "advice_in_arrays": (f"{CODE}/artifacts/hdf5.py", "Rerun its job: ", "Run its job again: "),
    "seconds_between_progress_lines": (
        f"{CODE}/workflow/job.py",
        "SECONDS_BETWEEN_LINES = 10.0",
        "SECONDS_BETWEEN_LINES = 20.0",
    ),
    "one_more_network": (
        f"{CODE}/evaluation/registry.py",
        "SCORERS = {\n",
        'SCORERS = {\n    "sharper": Scorer({"sharper": Metric("Sharper", "two_way")}, _torchvision),\n',
    ),
    "one_more_kind_of_metric": (f"{CODE}/evaluation/metrics.py", "KINDS = {", 'KINDS = {"two_way_of_all": two_way, '),
    "one_more_feature": (
        f"{CODE}/features/registry.py",
        "FEATURES = {\n",
        'FEATURES = {\n    "clip_again": clip_layers.FEATURE,\n',
    ),
    "one_more_backbone": (
        f"{CODE}/generation/registry.py",
        "BACKBONES = {\n",
        'BACKBONES = {\n    "flux": stable_diffusion.BACKBONE,\n',
    ),
    "one_more_decoder": (
        f"{CODE}/decoding/registry.py",
        "DECODERS = {\n",
        'DECODERS = {\n    "other": Decoder("other/{feature}_test.h5", "other/stage1"),\n',
    ),
    "error_in_devices": (f"{CODE}/models/devices.py", "not enough memory; lower", "too little memory; lower"),
    "error_in_ridge": (f"{CODE}/decoding/ridge.py", "expected one mask", "expected the same mask"),
    "sentence_of_a_full_disk": (f"{CODE}/artifacts/system_faults.py", "its disk is full", "that disk is full"),
    "sentence_about_numbers": (f"{CODE}/artifacts/finite.py", "expected finite numbers", "expected numbers"),
    "sentence_about_captions": (f"{CODE}/artifacts/captions.py", "expected a text", "expected a sentence"),
    "sentence_about_latents": (
        f"{CODE}/generation/vdvae_stage.py",
        "the predicted VDVAE",
        "the predicted latents, VDVAE",
    ),
    "docstring": (
        f"{CODE}/decoding/ridge.py",
        "The products of z-scored betas X that",
        "The products of z-scored betas that",
    ),
    "unused_definition": (f"{CODE}/artifacts/hdf5.py", "CHUNK_BYTES = 2**20\n", "CHUNK_BYTES = 2**20\nEDITED = True\n"),
    "unused_method_of_reading": (f"{CODE}/workflow/fetch.py", 'f"{path.name}.part.json"', 'f"{path.name}.part.yaml"'),
}
FEW = {
    "gap_of_contact_sheet": (
        f"{CODE}/artifacts/figures.py",
        "max(2, cell // 32)",
        "max(3, cell // 32)",
        {"contact_sheet"},
    ),
    "axis_label": (
        f"{CODE}/evaluation/decoding_accuracy.py",
        'ylabel="features, %"',
        'ylabel="features in %"',
        {"accuracy", "report"},
    ),
    "style_of_report": (f"{CODE}/reporting/page.css", "{", "{ ", {"report"}),
    "labels_of_atlas": (
        f"{CODE}/data/atlas_labels.tsv",
        "name\n",
        "name\nmine\t1\tmine\n",
        {"regions", "accuracy", "report"},
    ),
    "published_scores": (
        f"{CODE}/reporting/published_scores.tsv",
        "\nLin et al.",
        "\nLin and others",
        {"metrics", "report"},
    ),
}


def edit(root, name, old, new):
    text = (root / name).read_text(encoding="utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new, 1), encoding="utf-8")


def test_edits_that_change_no_result_run_nothing_again(checkout):
    """All at once; if this fails, one of them counts."""
    for name, old, new in MEANINGLESS.values():
        edit(checkout, name, old, new)
    assert planned(checkout) == set()


@pytest.mark.parametrize("name", FEW)
def test_edits_of_what_few_jobs_write_run_few_again(checkout, name):
    *what, expected = FEW[name]
    edit(checkout, *what)
    assert planned(checkout) == expected
    assert n_jobs(checkout) <= 4


def n_jobs(checkout):
    """How many jobs a dry run has, the target apart."""
    found = re.search(r"^total +(\d+)$", snakemake(checkout, "-n").stdout, re.M)
    return int(found[1]) - 1 if found else 0
