"""The sections of config.yaml as a page of the site."""

import re
from pathlib import Path

SECTION = re.compile(r"^(?=[a-z])", re.M)


def sections(path: Path) -> str:
    """The top-level sections of a YAML file in Markdown: a heading for each, and below it its lines with comments.

    Keys without a section of their own (dataset: demo) that follow each other share the heading of the first.
    """
    _, *blocks = SECTION.split(path.read_text(encoding="utf-8"))
    parts: list[str] = []
    simple = False
    for block in blocks:
        name = block.partition(":")[0]
        is_simple = not re.search(r"^  ", block, re.M) or bool(re.match(r"\w+: +[^#{\s]", block))
        if simple and is_simple:
            parts[-1] += block
        else:
            parts.append(f"## {name}\n\n```yaml\n{block}")
        simple = is_simple
    return "\n".join(part.rstrip() + "\n```\n" for part in parts)
