"""The table of docs/reliability.md has every reader, each with enough faults, of which none is silent."""

import re
from pathlib import Path

import damaged_artifacts
import damaged_data
import damaged_models
import damaged_workflow
from reliability import N_COPIES

PAGE = Path(__file__).resolve().parents[2] / "docs/reliability.md"
MODULES = (damaged_data, damaged_artifacts, damaged_models, damaged_workflow)


def test_the_page_has_every_reader():
    rows = re.findall(r"^\| ([^|*]+) \| `(\.\S+)` \| (yes|no) \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.M)
    readers = [reader for module in MODULES for reader in module.READERS]
    expected = [(reader.name, reader.form, "yes" if reader.has_checksum else "no") for reader in readers]
    assert [(name, form, checksum) for name, form, checksum, _ in rows] == expected
    assert len(set(expected)) == len(expected)
    for name, *_, counts in rows:
        injected, *outcomes = map(int, counts.split("|"))
        assert injected == sum(outcomes) == N_COPIES >= 300, name
        assert outcomes[-2:] == [0, 0], name
    forms = {reader.form for reader in readers}
    assert forms >= {".nii.gz", ".hdf5", ".h5", ".npy", ".mat", ".tsv", ".json", ".safetensors", ".pth", ".yaml"}
