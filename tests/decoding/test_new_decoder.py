"""A new decoder is one file and one entry of the registry: docs/extend.md, "A decoder", on the toy subject."""

import h5py
import numpy as np
import pytest
from toy_workflow import edit_config, example, planned, snakemake

FILE = example("extend.md", "A decoder", "python")
REGISTRY = "brain_diffuser/decoding/registry.py"
TARGET = "results/sub01/variants/nearest/recon"
DECODED = {f"decode:{feature}" for feature in ("vdvae", "clip_text", "clip_vision")}

pytestmark = pytest.mark.workflow


def test_a_variant_has_a_new_decoder_and_nothing_else_runs_again(checkout):
    (checkout / "brain_diffuser/decoding/nearest.py").write_text(FILE)
    text = (checkout / REGISTRY).read_text()
    text = text.replace("import Decoder\n", "import Decoder\nfrom brain_diffuser.decoding import nearest\n")
    text = text.replace("DECODERS = {\n", 'DECODERS = {\n    "nearest": nearest.DECODER,\n')
    (checkout / REGISTRY).write_text(text)
    assert planned(checkout) == set()

    edit_config(checkout, "variants.nearest", {"decoder": "nearest"})
    assert planned(checkout) == set()
    assert planned(checkout, TARGET) == {*DECODED, "decoder_stage1", "variant:nearest"}
    run = snakemake(checkout, "--cores", "2", TARGET)
    assert run.returncode == 0, run.stderr
    assert planned(checkout) == planned(checkout, TARGET) == set()
    assert len(list((checkout / TARGET).glob("*.png"))) == 8
    with h5py.File(checkout / "results/sub01/nearest/clip_text_test.h5") as file:
        predicted = file["values"][:]
    with h5py.File(checkout / "results/sub01/features/clip_text_train.h5") as file:
        true = file["values"][:].astype(np.float32)
    assert true.min() <= predicted.min() <= predicted.max() <= true.max()

    edit_config(checkout, "decoders", {"nearest": {"neighbours": 1}})
    assert planned(checkout) == set()
    assert DECODED < planned(checkout, TARGET)
    edit_config(checkout, "variants.nearest", {"decoder": "nearer"})
    assert (
        'variants.nearest.decoder is "nearer"; expected nearest, ridge or learned' in snakemake(checkout, "-n").stderr
    )
