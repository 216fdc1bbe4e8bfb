"""The package's root offers a few names for notebooks, and imports nothing before one is asked for."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import brain_diffuser

ROOT = Path(__file__).parents[2]


NAMES = {
    "decode": "workflow.decode_betas.decode",
    "load_run": "workflow.finished_run.load_run",
    "score": "workflow.score_arrays.score",
    "load_array": "artifacts.hdf5.load",
    "read_images": "artifacts.image_files.read_folder",
    "read_table": "artifacts.tables.read_csv",
}


def test_public_names_are_listed_and_lead_to_their_functions():
    assert sorted(NAMES) == brain_diffuser.__all__
    assert set(NAMES) <= set(dir(brain_diffuser))
    for name, path in NAMES.items():
        module, _, function = path.rpartition(".")
        found = getattr(brain_diffuser, name)
        assert found is getattr(importlib.import_module(f"brain_diffuser.{module}"), function)
        assert inspect.getdoc(found)
        assert name in (brain_diffuser.__doc__ or "")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module brain_diffuser has no attribute anything$"):
        _ = brain_diffuser.anything


def test_the_root_imports_nothing_that_takes_time():
    program = "import typing, sys; before = set(sys.modules); import brain_diffuser; print(set(sys.modules) - before)"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "{'brain_diffuser'}\n"


def test_no_script_or_module_uses_them():
    names = [f"brain_diffuser.{name}" for name in NAMES]
    files = [path for place in ("brain_diffuser", "workflow_scripts", "rules") for path in (ROOT / place).rglob("*.*")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".smk")]
    assert not any(re.search(rf"{re.escape(name)}\b(?!_)", text) for text in texts for name in names)
