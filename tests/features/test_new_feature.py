"""A new feature is one file and one entry of the registry: docs/extend.md, "A feature", on the toy subject."""

import json

import h5py
import numpy as np
import pytest
from toy_workflow import edit_config, example, planned, snakemake

FILE = example("extend.md", "A feature", "python")
REGISTRY = "brain_diffuser/features/registry.py"
TARGET = "results/sub01/ridge/palette_test.h5"

pytestmark = pytest.mark.workflow


def register(checkout):
    """The one file and the one entry."""
    (checkout / "brain_diffuser/features/palette.py").write_text(FILE)
    text = (checkout / REGISTRY).read_text()
    text = text.replace("clip_vision, sd_text", "clip_vision, palette, sd_text")
    text = text.replace("FEATURES = {\n", 'FEATURES = {\n    "palette": palette.FEATURE,\n')
    (checkout / REGISTRY).write_text(text)


def test_a_new_feature_is_predicted_and_nothing_else_runs_again(checkout):
    register(checkout)
    assert planned(checkout) == set()
    refused = snakemake(checkout, "-n", TARGET).stderr
    assert "feature palette is read from datasets.toy.palette, which is missing; add that key" in refused

    edit_config(checkout, "datasets.toy.palette", "toy/palette.npy")
    refused = snakemake(checkout, "-n", TARGET).stderr
    assert "datasets.toy.palette leads to toy/palette.npy, which does not exist" in refused

    np.save(checkout / "toy/palette.npy", np.eye(3))
    assert planned(checkout) == set()
    assert planned(checkout, TARGET) == {"features:palette", "ridge:palette"}
    run = snakemake(checkout, "--cores", "2", TARGET)
    assert run.returncode == 0, run.stderr
    assert planned(checkout) == planned(checkout, TARGET) == set()

    with h5py.File(checkout / "results/sub01/features/palette_train.h5") as file:
        assert file["values"].shape == (16, 12)
        assert json.loads(file["values"].attrs["made_by"]) == {"feature": "palette", "gain": 0.5}
        assert json.loads(file["values"].attrs["axes"]) == ["quarters", "colours"]
    with h5py.File(checkout / TARGET) as file:
        assert file["values"].shape == (8, 12)
        assert json.loads(file["values"].attrs["made_by"])["alpha"] == 10.0  # of the record

    edit_config(checkout, "ridge.alpha.palette", 20.0)
    assert planned(checkout, TARGET) == {"ridge:palette"}
    edit_config(checkout, "features.palette", {"gain": 1.0})
    assert planned(checkout, TARGET) == {"features:palette", "ridge:palette"}


def test_a_feature_that_nobody_registered(checkout):
    edit_config(checkout, "ridge.alpha.clip_texts", 20.0)
    refused = snakemake(checkout, "-n")
    assert refused.returncode != 0
    assert (
        "config.yaml: ridge.alpha.clip_texts is not a known key; did you mean ridge.alpha.clip_text?" in refused.stderr
    )
