"""A message about the configuration names the file and the line in which the wrong value stands."""

import json
import re
from pathlib import Path

import pytest
import yaml
from toy_workflow import ROOT

from brain_diffuser.workflow import estimate
from brain_diffuser.workflow.config import checks, sources

pytestmark = pytest.mark.long

SHIPPED = (ROOT / "config.yaml").read_text(encoding="utf-8")


def line(text, start):
    (number,) = (n for n, each in enumerate(text.splitlines(), 1) if each.startswith(start))
    return number


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the shipped configuration, and a file for every path of the demo's models."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(SHIPPED)
    for path in ("demo/models/vdvae/vdvae-ema.safetensors", "demo/models/versatile-diffusion"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    return tmp_path


def refusal(files, arguments=()):
    with pytest.raises(ValueError, match=r".") as caught:
        estimate.read_config(files, arguments)
    return str(caught.value)


def test_the_file_that_overrules_is_named(folder):
    Path("mine.yaml").write_text("# mine\nrecon:\n  seed: 1\n  strength: 1.5\n")
    Path("more.yaml").write_text("recon:\n  seed: 2\n")
    expected = "mine.yaml: recon.strength is 1.5; expected a number more than 0 and at most 1 (line 4)"
    assert refusal(["mine.yaml"]) == refusal(["mine.yaml", "more.yaml"]) == expected
    Path("more.yaml").write_text("recon: {strength: 3}\n")
    assert refusal(["mine.yaml", "more.yaml"]).startswith("more.yaml: recon.strength is 3; ")
    assert refusal(["mine.yaml"], ["recon={strength: 2}"]) == (
        "--config: recon.strength is 2; expected a number more than 0 and at most 1"
    )


def test_the_standard_file_is_named_with_its_line(folder):
    edited = SHIPPED.replace("  strength: 0.75", "  strength: 7.5")
    Path("config.yaml").write_text(edited)
    there = f"(line {line(edited, '  strength:')})"
    expected = f"config.yaml: recon.strength is 7.5; expected a number more than 0 and at most 1 {there}"
    assert refusal([]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("recon:\n  sed: 1\n", "mine.yaml: recon.sed is not a known key; .* \\(line 2\\)$"),
        ("recons:\n  seed: 1\n", "mine.yaml: recons is not a known key; .* \\(line 1\\)$"),
        (
            "ridge:\n  alpha:\n    vdvae: '5e4'\n",
            "mine.yaml: ridge.alpha.vdvae .*; write 50000.0, without quotes \\(line 3",
        ),
        (
            "dataset: mine\n\ndatasets:\n  mine:\n    nsd: x\n",
            "mine.yaml: datasets.mine.simulated is missing; .*\\(line 4\\)",
        ),
        ("subjects: [sub01,\n  sub02,\n  sub01]\n", "mine.yaml: subjects has sub01 2 times; .* \\(line 3\\)$"),
        ("nsd:\n  rois:\n  - a\n  - 1\n", "mine.yaml: nsd.rois.1 is 1; expected text \\(line 4\\)$"),
        ("variants:\n  recon: {seed: 1}\n", "mine.yaml: variants has recon; .* \\(line 2\\)$"),
        ("variants:\n  a.b: {steps: 0}\n", "mine.yaml: variants.a.b.steps is 0; .* \\(line 2\\)$"),
        (
            "variants:\n  text_weight_0.2: {text_weight: 2}\n",
            "mine.yaml: variants.text_weight_0.2.text_weight is 2; .*line 2",
        ),
        (
            "roi:\n  optimal: [faces,\n    face]\n",
            "mine.yaml: roi.optimal names face, .* \\(mine.yaml line 3, config.yaml",
        ),
        ("stage1:\n  reading: mode\n", "mine.yaml: stage1.reading is now stage1.pixel_likelihood; .* \\(line 2\\)"),
        (
            "demo:\n  n_test: 121\n",
            "mine.yaml: demo.n_train \\+ demo.n_test is .* \\(config.yaml line \\d+, mine.yaml line 2\\)",
        ),
        (
            "fetch:\n  nsd: true\n",
            "mine.yaml: fetch.nsd is true, fetch.accept.* \\(mine.yaml line 2, config.yaml line \\d+\\)",
        ),
        (
            "datasets:\n  demo:\n    clip: nowhere\n",
            "mine.yaml: datasets.demo.clip is nowhere, which does not .* \\(line 3\\)$",
        ),
        (
            "datasets:\n  demo:\n    clip: $NO_SUCH/x\n",
            "mine.yaml: datasets.demo.clip is .*NO_SUCH is not set; .*\\(line 3\\)$",
        ),
        ("results: results/\n", 'mine.yaml: results is "results/"; write results \\(line 1\\)$'),
    ],
)
def test_every_kind_of_message_has_its_line(folder, text, expected):
    Path("mine.yaml").write_text(text)
    assert re.match(expected, refusal(["mine.yaml"]))


def test_a_missing_key_is_looked_for_where_its_section_begins(folder):
    lacking = SHIPPED.replace("  strength: 0.75", "  # strength: 0.75")
    Path("config.yaml").write_text(lacking)
    Path("mine.yaml").write_text("recon:\n  seed: 1\n")
    assert refusal(["mine.yaml"]).endswith(f"from the shipped config.yaml (line {line(lacking, 'recon:')})")
    Path("config.yaml").write_text(SHIPPED.replace("dataset: demo", "# dataset: demo"))
    assert refusal([]).startswith("config.yaml: dataset is missing; ")


def test_messages_of_later_checks_are_located_too(folder):
    Path("mine.yaml").write_text("subjects: [sub02]\nvariants:\n  strong: {text_weight: 1.0}\nguidance: {kappa: 2}\n")
    found = sources.Sources([sources.of_file("config.yaml"), sources.of_file("mine.yaml")])
    refused = "results/sub01/recon: sub01 is not among the subjects of {}, sub02; add it"
    assert found.located(refused.format("config.yaml")) == f"{refused.format('mine.yaml')} (line 1)"
    weights = "guidance.layer_weights of variant strong.seed_2 has 5 numbers for 4 blocks"
    assert found.located(f"config.yaml: {weights}").startswith(f"mine.yaml: {weights} (config.yaml line ")
    assert found.located(f"config.yaml: {weights}").endswith(", mine.yaml line 3)")
    for other in (
        "data/nsd is full",
        "config.yaml: nothing of the kind",
        "the module sets results to x, config.yaml to y",
    ):
        assert found.located(other) == other
    assert sources.UNKNOWN.located("config.yaml: recon.seed is x") == "config.yaml: recon.seed is x"


def test_arguments_are_sections_too(folder):
    assert refusal([], ["recon={seed: 1, seed: 2}"]) == (
        "--config: recon.seed is there twice, and the first would be lost; join them or delete one"
    )
    assert refusal([], ["recon={seed: 1}", "recon={seed: 2}"]) == (
        "--config: recon.seed is there twice, and the first would be lost; delete one"
    )
    assert refusal([], ["dataset=demo", "dataset=nsd"]).startswith("--config: dataset is there twice")
    assert refusal([], ['recon={seed: "1"}']) == (
        '--config: recon.seed is "1"; expected a whole number at least 0; write 1, without quotes'
    )
    assert refusal([], ["recon={strength: 5e-1}"]) == (
        '--config: recon.strength is "5e-1"; expected a number more than 0 and at most 1; write 0.5, without quotes'
    )
    changed = ["recon={steps: 20, strength: 0.5}", "compute={compile: true}", "scaling={voxels: [0.5]}", "seed=1"]
    config = {"recon": {"steps": "20"}, "compute": {"compile": "true"}, "scaling": {"voxels": ["0.5"]}, "seed": 1}
    config["nsd"] = {"sessions": "7"}  # of a file, where it is in quotes
    sources.Sources([sources.of_arguments(changed)]).give_types(config)
    assert (config["recon"], config["compute"]) == ({"steps": 20}, {"compile": True})
    assert (config["scaling"], config["nsd"]) == ({"voxels": [0.5]}, {"sessions": "7"})
    found = estimate.read_config([], ["recon={steps: 20, strength: 0.5}", "compute={compile: true}"])
    assert (found.recon.steps, found.recon.strength, found.compute.compile) == (20, 0.5, True)
    assert estimate.read_config([], ["subjects=[sub01, sub02]", "results=other"]).subjects == ["sub01", "sub02"]


def test_a_file_may_be_json(folder):
    Path("mine.json").write_text(json.dumps({"recon": {"seed": 1, "strength": 5e-1}}, indent=1))
    assert estimate.read_config(["mine.json"]).recon.strength == 0.5
    Path("mine.json").write_text(json.dumps({"recon": {"seed": 1, "strength": 5e1}}, indent=1))
    assert (
        refusal(["mine.json"])
        == "mine.json: recon.strength is 50.0; expected a number more than 0 and at most 1 (line 4)"
    )


def test_files_are_named_from_the_working_folder_on(folder, tmp_path):
    inside, outside = folder / "lab/mine.yaml", tmp_path.parent / "mine.yaml"
    assert sources.shown(inside) == "lab/mine.yaml"
    assert sources.shown(outside) == str(outside)


def test_the_same_without_sources(folder):
    config = yaml.safe_load(SHIPPED)
    config["recon"]["strength"] = 2
    with pytest.raises(
        ValueError, match=r"^config\.yaml: recon\.strength is 2; expected a number more than 0 and at most 1$"
    ):
        checks.read(config, folder)
