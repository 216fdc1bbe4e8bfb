"""The package's root offers a few names for notebooks, and imports nothing before one is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

import brain_diffuser
from brain_diffuser.artifacts import hdf5, image_files, tables

ROOT = Path(__file__).parents[2]


def test_public_names():
    assert brain_diffuser.load_array is hdf5.load
    assert brain_diffuser.read_images is image_files.read_folder
    assert brain_diffuser.read_table is tables.read_csv


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module brain_diffuser has no attribute anything$"):
        _ = brain_diffuser.anything


def test_the_root_imports_nothing():
    program = "import sys; before = set(sys.modules); import brain_diffuser; print(set(sys.modules) - before)"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "{'brain_diffuser'}\n"


def test_no_script_or_module_uses_them():
    names = ("brain_diffuser.load_array", "brain_diffuser.read_images", "brain_diffuser.read_table")
    files = [path for place in ("brain_diffuser", "workflow_scripts", "rules") for path in (ROOT / place).rglob("*.*")]
    texts = [path.read_text() for path in files if path.suffix in (".py", ".smk")]
    assert not any(name in text for text in texts for name in names)
