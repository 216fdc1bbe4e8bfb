"""Old names of configuration keys, results and rules are answered with the new one."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from brain_diffuser.workflow import renamed
from brain_diffuser.workflow.config import checks, messages, schema

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())


def with_value(path, value):
    """The shipped configuration with another entry."""
    config = copy.deepcopy(CONFIG)
    *sections, key = path.split(".")
    section = config
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    return config


@pytest.mark.parametrize("pattern", renamed.KEYS)
def test_an_old_key_names_the_new_one(pattern):
    path, known = pattern.replace("*", "demo"), schema.Config.model_json_schema()
    new, known_new = (renamed._beside(some, renamed.KEYS[pattern]) for some in (path, pattern))
    assert messages._node(known, tuple(known_new.split(".")))
    assert not messages._node(known, tuple(pattern.split("."))).get("type")
    words = rf"^config.yaml: {re.escape(path)} is now {re.escape(new)}; (rename|move) the key$"
    with pytest.raises(ValueError, match=words):
        checks.read(with_value(path, 1), ROOT)


@pytest.mark.parametrize("path", ["variants.mine.features", "variants.mine.guidance.targets", "guidance.targets"])
def test_an_old_value_names_the_new_one(path):
    with pytest.raises(ValueError, match=f"^config.yaml: {path}: own is now oracle; write {path}: oracle$"):
        checks.read(with_value(path, "own"), ROOT)


def test_a_renamed_key_says_its_new_value():
    words = "config.yaml: roi.parity is now roi.released_protocol; rename the key, and write true for released"
    with pytest.raises(ValueError, match=f"^{words}$"):
        checks.read(with_value("roi.parity", "released"), ROOT)


def test_an_old_adapter_of_no_dataset_is_left_out():
    words = "datasets.demo.custom.adapter is now datasets.demo.adapter; it is left out for none, so delete the key"
    with pytest.raises(ValueError, match=f"^config.yaml: {words}$"):
        checks.read(with_value("datasets.demo.custom.adapter", "none"), ROOT)


def test_several_old_keys_are_counted():
    config = with_value("metrics.judges", [])
    config["stage1"]["reading"] = "mode"
    with pytest.raises(ValueError, match=r"\(and 1 more\)$"):
        checks.read(config, ROOT)


@pytest.mark.parametrize("path", sorted(ROOT.glob("config*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_have_no_old_names(path):
    assert renamed.problems(yaml.safe_load(path.read_text())) == []


PATHS = {
    "costs.csv": "resource_usage.csv",
    "sub01/nsd/stimuli.tsv": "sub01/data/stimuli.tsv",
    "sub01/nsd": "sub01/data",
    "shared/sessions_1-2/nsd/captions.json": "shared/sessions_1-2/data/captions.json",
    "sub01/judged/recon/clip.csv": "sub01/perceptual_scores/recon/clip.csv",
    "sub01/shards/judged/recon/clip/00000-01000.h5": "sub01/shards/perceptual_scores/recon/clip/00000-01000.h5",
    "sub01/features/clip_taps_test.h5": "sub01/features/clip_layers_test.h5",
    "sub01/shards/features/clip_taps_test/00000-03000.h5": "sub01/shards/features/clip_layers_test/00000-03000.h5",
    "shared/learned/clip_taps/without_sub01/weights.safetensors": (
        "shared/learned/clip_layers/without_sub01/weights.safetensors"
    ),
    "sub01/contributions/vdvae": "sub01/lesions/vdvae",
    "average/optimal/pictures/V1_1.png": "average/optimal/images/V1_1.png",
    "sub01/perturbed/pictures_manifest.tsv": "sub01/perturbed/images_manifest.tsv",
    "sub01/optimal/seen/seen.csv": "sub01/optimal/category_probe/category_probe.csv",
    "sub01/optimal/seen/judge.csv": "sub01/optimal/category_probe/category_probe_accuracy.csv",
    "sub01/roi/seen.csv": "sub01/roi/category_probe.csv",
    "sub01/guidance/pictures.png": "sub01/guidance/images.png",
    "sub01/logs/nsd_stimuli_test.log": "sub01/logs/stimuli_test.log",
    "sub01/benchmarks/judged_recon_clip.tsv": "sub01/benchmarks/perceptual_scores_recon_clip.tsv",
    "sub01/logs/features_clip_taps_test_00000-03000.log": "sub01/logs/features_clip_layers_test_00000-03000.log",
    "sub01/logs/optimal_seen.log": "sub01/logs/category_probe.log",
    "sub01/benchmarks/perturbed_pictures.tsv": "sub01/benchmarks/perturbed_images.tsv",
}


@pytest.mark.parametrize("old", PATHS)
def test_old_results_are_named_anew(old):
    assert renamed.new_path(old) == PATHS[old]
    assert f" is now mine/{PATHS[old]}; ask for that" in renamed.target_problem(f"mine/{old}", "mine")


@pytest.mark.parametrize("path", [*PATHS.values(), "demo/nsd/nsddata", "sub01/recon", "sub01/variants/clip_taps/recon"])
def test_present_names_stay(path):
    assert renamed.new_path(path) == path
    assert renamed.target_problem(f"mine/{path}", "mine") == ""


@pytest.mark.parametrize("rule", ["nsd_betas", "contributions", "judged"])
def test_an_old_rule_names_the_new_one(rule):
    config = checks.read(CONFIG, ROOT)
    with pytest.raises(ValueError, match=f"^rule {rule} is now {renamed.RULES[rule]}; ask for"):
        config.check_target(rule)


def test_rules_have_their_new_names():
    text = "".join(path.read_text() for path in ROOT.glob("rules/**/*.smk"))
    rules = set(re.findall(r"^ *rule (\w+):", text, re.M)) | set(
        re.findall(r"^ *use rule \w+ as (\w+) with:", text, re.M)
    )
    assert set(renamed.RULES.values()) <= rules
    assert not set(renamed.RULES) & rules


def test_the_old_command_names_the_new_one():
    found = subprocess.run(
        [sys.executable, "-m", "brain_diffuser.costs"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr.strip()) == (
        1,
        "python -m brain_diffuser.costs is now python -m brain_diffuser.resource_usage; run that",
    )
