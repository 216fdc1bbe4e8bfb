"""A rehearsal with small networks: all stages run, and what they took tells what the run would take."""

import re
import subprocess
from types import SimpleNamespace

import pytest
import yaml
from toy_workflow import copy_project, interpreter

from brain_diffuser.data import rehearsal as dataset
from brain_diffuser.workflow import estimate, rehearsal, resource_usage, usage

SMALL = {"n_train": 12, "n_test": 3, "size": "small", "seed": 0}


@pytest.fixture
def rehearsed(tmp_path, monkeypatch):
    """The project, whose rehearsal is small."""
    folder = copy_project(tmp_path / "checkout", "tests", "models")
    config = yaml.safe_load((folder / "config.rehearsal.yaml").read_text())
    config["datasets"]["rehearsal"]["settings"] = SMALL
    (folder / "config.rehearsal.yaml").write_text(yaml.safe_dump(config))
    (folder / "mine.yaml").write_text("dataset: nsd\nsubjects: [sub01, sub02]\nrecon: {steps: 4}\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.workflow
def test_small_networks_pass_all_stages(rehearsed):
    command = [interpreter(), "-m", "brain_diffuser.rehearsal", "--configfile", "mine.yaml", "--cores", "2"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    shown = (rehearsed / "results_rehearsal/rehearsal.md").read_text()
    assert run.stdout == shown
    stages = re.findall(r"^\| (\w+) \|", shown, re.M)
    assert {"rehearsal", "features", "ridge", "stage1", "recon", "metrics"} <= set(stages)
    assert "CPU time, 2 subjects" in shown
    scores = (rehearsed / "results_rehearsal/sub01/metrics/scores.md").read_text()
    assert "REHEARSAL: random betas and random networks" in scores
    again = subprocess.run([*command[:3], "--only-report", *command[3:]], capture_output=True, text=True, check=False)
    assert again.stdout == shown


def table(name, span="", seconds=0.0, cpu=0.0, loop=0.0, n=0, steps=0):
    used = usage.Usage(cpu, seconds, 100, 0, usage.Loop(n, steps, loop, loop), "float32")
    return resource_usage.Table(name, span, seconds, cpu, 0, 100.0, used)


@pytest.fixture
def sizes(rehearsed):
    planned = estimate.read_without_files(["mine.yaml"])
    return rehearsal.Sizes(estimate.read_without_files(["mine.yaml", "config.rehearsal.yaml"]), planned)


def test_images_count_one_by_one_and_starts_by_shards(sizes):
    found = rehearsal._of_run(table("recon", "00000-00064", 35.0, 40.0, 30.0, 3, 12), sizes, 2.0)
    shard = sizes.planned.shards.recon
    assert sizes.n_steps == 3  # of which an image has four here
    assert found == (pytest.approx(2 * -(-1000 // shard) * 10.0 + 2000 * 10.0 * 3 / 4), 0.0)


def test_sessions_and_stimuli(sizes):
    assert sizes.n_sessions == 80
    assert rehearsal._of_run(table("betas", "", 5.0, 5.0), sizes, 2.0)[0] == pytest.approx(2 * 2.0 + 80 * 3.0)
    stimuli = rehearsal._of_run(table("stimuli_train", "", 5.0, 5.0), sizes, 2.0)[0]
    assert stimuli == pytest.approx(2 * 2.0 + 18000 / 12 * 3.0)
    ridge = rehearsal._of_run(table("ridge_vdvae", "", 5.0, 5.0), sizes, 2.0)[0]
    assert ridge == 2 * rehearsal.RIDGE_CPU["ridge"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"n_train": 13}, r"n_train \+ n_test is 16; expected a number that divides the 750 trials"),
        ({"n_test": 0}, "n_test is 0; expected a whole number from 2"),
        ({"size": "large"}, "size is large; expected published or small"),
        ({"sizes": "small"}, "expected n_test, n_train, seed, size"),
    ],
)
def test_wrong_settings(change, expected):
    config = SimpleNamespace(dataset="rehearsal", paths=SimpleNamespace(settings=SMALL | change))
    (problem,) = dataset.problems(config)
    assert re.search(expected, problem)


def test_no_rehearsal_is_one_sentence(rehearsed):
    run = subprocess.run(
        [interpreter(), "-m", "brain_diffuser.rehearsal", "--only-report"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr == "results_rehearsal has no rehearsal that has run; leave out --only-report\n"
