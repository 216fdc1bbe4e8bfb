"""One version of everything: pyproject.toml, requirements and the rules' environments agree."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = [f"requirements{which}.txt" for which in ("", "-dev", "-slurm", "-judges")]
PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*")


def pins(name):
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


@pytest.mark.parametrize("name", FILES)
def test_requirements_are_exact_published_versions(name):
    assert [line for line in pins(name) if not PIN.fullmatch(line)] == []


def test_no_package_is_pinned_twice():
    names = [line.split("==")[0].lower() for file in FILES for line in pins(file)]
    assert len(names) == len(set(names))


def test_direct_dependencies_are_among_the_requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) <= {line.lower() for line in pins("requirements.txt")}


@pytest.mark.parametrize("path", sorted(ROOT.glob("envs/*.yaml")), ids=lambda path: path.stem)
def test_environments_have_the_same_versions(path):
    packages = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
    assert set(packages) <= set(pins("requirements.txt") + pins("requirements-judges.txt"))


def test_the_environment_of_volumes_has_what_draws_them():
    used = re.search(r"envs/\w+\.yaml", (ROOT / "rules/volumes.smk").read_text())
    packages = yaml.safe_load((ROOT / used.group()).read_text())["dependencies"][-1]["pip"]
    assert {"matplotlib", "nibabel", "nilearn", "pandas", "scikit-learn"} <= {each.split("==")[0] for each in packages}
