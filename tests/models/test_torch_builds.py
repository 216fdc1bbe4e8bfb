"""Which torchvision fits which torch, as the versions of packages and a real import tell."""

import subprocess
import sys
from pathlib import Path

import pytest

from brain_diffuser.models import torch_builds

ROOT = Path(__file__).parents[2]


def package(folder, name, version, code="", requires=()):
    """An installed package of one file."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "__init__.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")


def asked(folder, program):
    """What a process prints that finds these packages before all others."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from brain_diffuser.models import torch_builds as b;"
    environment = {"PYTHONPATH": f"{folder}:{ROOT}", "PATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", code + program], env=environment, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.13.0", "run pip install torchvision==0.28.0"),
        ("", "run pip install torchvision==0.28.0"),
        (
            "2.13.0+cpu",
            "run pip install torchvision==0.28.0+cpu --no-deps --index-url https://download.pytorch.org/whl/cpu",
        ),
        (
            "2.13.0+cu130",
            "run pip install torchvision==0.28.0+cu130 --no-deps --index-url https://download.pytorch.org/whl/cu130",
        ),
        (
            "2.9.0a0+145a3a7.nv25",
            "install the torchvision that belongs to torch 2.9.0a0+145a3a7.nv25, from where that came from",
        ),
    ],
)
def test_the_command_of_each_build(monkeypatch, version, expected):
    monkeypatch.setattr(torch_builds, "_version", lambda name: version)
    assert torch_builds.advice() == expected


REQUIRES = ["numpy", "torch==2.13.0"]
BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"


@pytest.mark.parametrize(
    ("torch", "torchvision", "code", "requires"),
    [
        ("2.13.0", "0.28.0", BROKEN, REQUIRES),  # one build: not imported, whatever it would do
        ("2.13.0+cpu", "0.28.0+cpu", BROKEN, REQUIRES),
        ("2.13.0+cpu", "0.28.0", "", REQUIRES),  # names differ and all is well, as on ARM
        ("2.13.0", "0.28.0", BROKEN, ["torch (==2.13.0)"]),
        ("2.12.0", "0.28.0", "", REQUIRES),
    ],
)
def test_a_torchvision_that_works_is_no_problem(tmp_path, torch, torchvision, code, requires):
    package(tmp_path, "torch", torch)
    package(tmp_path, "torchvision", torchvision, code, requires)
    assert asked(tmp_path, "print(b.problem())") == ""


@pytest.mark.parametrize(
    ("torch", "torchvision", "way_out"),
    [
        ("2.13.0+cpu", "0.28.0", "0.28.0+cpu --no-deps --index-url https://download.pytorch.org/whl/cpu"),
        ("2.13.0", "0.28.0+cpu", "0.28.0"),
        ("2.13.0", "0.29.1", "0.28.0"),
    ],
)
def test_a_torchvision_that_cannot_be_imported(tmp_path, torch, torchvision, way_out):
    package(tmp_path, "torch", torch)
    package(
        tmp_path, "torchvision", torchvision, BROKEN, [f"torch (=={'2.14.1' if '29' in torchvision else '2.13.0'})"]
    )
    assert asked(tmp_path, "print(b.problem())") == (
        f"torchvision {torchvision} cannot be imported beside torch {torch} (RuntimeError: operator torchvision::nms "
        f"does not exist), and then CLIP cannot either; run pip install torchvision=={way_out}, or, if no network in "
        "metrics.networks needs it, pip uninstall torchvision"
    )


def test_without_torchvision_there_is_no_problem(tmp_path):
    package(tmp_path, "torch", "2.13.0+cpu")
    assert asked(tmp_path, "b._version = lambda name: ''; print(b.problem())") == ""


def test_an_import_that_torchvision_spoils_says_so(tmp_path):
    package(tmp_path, "torch", "2.13.0+cpu")
    package(tmp_path, "torchvision", "0.28.0", BROKEN, REQUIRES)
    program = (
        "exec('try:\\n with b.importing(\"transformers\"):\\n  import torchvision\\nexcept OSError as e:\\n print(e)')"
    )
    assert asked(tmp_path, program).startswith(
        "transformers cannot be imported: torchvision 0.28.0 cannot be imported beside torch 2.13.0+cpu (RuntimeError: "
    )


def test_another_failed_import_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(torch_builds, "problem", str)
    with pytest.raises(ModuleNotFoundError, match="nowhere"), torch_builds.importing("transformers"):
        import nowhere  # noqa: F401
