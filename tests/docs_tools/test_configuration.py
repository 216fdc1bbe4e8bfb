"""The sections of config.yaml on the page of the documentation."""

import re
from pathlib import Path

import yaml

from docs_tools import configuration

ROOT = Path(__file__).parents[2]


def test_all_keys_of_config_yaml_are_there_in_order_with_their_comments():
    shown = configuration.sections(ROOT / "config.yaml")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", shown, re.M | re.S)
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load("\n".join(blocks)) == yaml.safe_load(text)
    assert all(line in shown for line in text.split("\n")[text[: text.index("\ndataset:")].count("\n") + 1 :])
    headings = re.findall(r"^## (\w+)$", shown, re.M)
    assert headings[0] == "dataset"
    assert {"ridge", "recon", "variants", "metrics"} <= set(headings)
    assert len(headings) == len(blocks) == len(set(headings))


def test_keys_without_a_section_share_a_heading(tmp_path):
    (tmp_path / "c.yaml").write_text("# first\n\na: 1\nb: [2]  # two\n\nc:\n  d: 3\n", encoding="utf-8")
    assert configuration.sections(tmp_path / "c.yaml") == (
        "## a\n\n```yaml\na: 1\nb: [2]  # two\n```\n\n## c\n\n```yaml\nc:\n  d: 3\n```\n"
    )
