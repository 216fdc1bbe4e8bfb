"""What jobs ask for, and how profiles pass it on."""

import re
from pathlib import Path

import pytest
import yaml
from toy_workflow import edit_config, snakemake, write_checkout

ROOT = Path(__file__).parents[2]


def profile(name):
    return yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text())


@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_a_profile_repeats_what_the_default_says(name):
    """Snakemake reads one or the other."""
    default, other = profile("default"), profile(name)
    assert default.pop("resources") == other["resources"] | {"gpu": 1}
    assert other | default == other


def test_groups_are_of_rules_that_need_no_gpu():
    rules = dict(re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", "\n".join(map(Path.read_text, smk())), re.M))
    grouped = profile("slurm")["groups"]
    assert grouped.keys() <= rules.keys()
    assert [rule for rule in grouped if "gpu=" in rules[rule] or "{span}" in rules[rule].split("output:")[1]] == []


@pytest.mark.parametrize("path", sorted((ROOT / "rules").rglob("*.smk")), ids=lambda path: path.stem)
def test_every_rule_asks_for_memory_and_time_and_for_more_in_a_retry(path):
    """But for local ones, and those that say it through another rule."""
    own = re.sub(r"^use rule .*\n(    .*\n|\n)+", "", path.read_text(), flags=re.M)
    rules = re.split(r"^ *rule\b", own, flags=re.M)
    scripts = [rule for rule in rules if "script:" in rule and "localrule: True" not in rule]
    assert [
        rule for rule in scripts if "mem_mb=scaled_by_attempt(" not in rule or "runtime=scaled_by_attempt(" not in rule
    ] == []


@pytest.mark.workflow
def test_a_job_with_networks_asks_for_a_gpu_wherever_it_is_planned(tmp_path):
    checkout = write_checkout(tmp_path / "checkout")
    asked = {}
    for device in ("cpu", "cuda"):
        edit_config(checkout, "compute.device", device)
        text = snakemake(checkout, "-n", "results/sub01/recon").stdout
        (asked[device],) = re.findall(r"^rule recon_shard:\n(?: .*\n)*? +resources: (.*)", text, re.M)
    assert "runtime=670, gpu=0, device=cpu" in asked["cpu"]
    assert "runtime=62, gpu=1, device=cuda" in asked["cuda"]


def smk():
    return sorted((ROOT / "rules").rglob("*.smk"))
