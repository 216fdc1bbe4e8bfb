"""What a job depends on, as values that Snakemake can compare: it looks at a script's date, never at its imports."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brain_diffuser.workflow.code_key.key import Code, Entries
from brain_diffuser.workflow.code_key.resolving import SURROUNDINGS

__all__ = ["CACHE", "SURROUNDINGS", "Code", "code_key", "describe_key", "imports", "renewed", "stage_config"]

CACHE = ".snakemake/code_keys.json"
"""Where keys are kept, of the folder in which Snakemake runs."""


ADDED: dict[str, Any] = {
    "features.clip_vision.levels": "kept",
    "recon.sampler": "ddim",
    "compute.compile": False,
    "splits": {},
    "test_sets": {},
    "significance.images": ["stage1", "recon"],
    "significance.permutations": 10000,
    "significance.pairings": 99,
    "significance.correction": "holm",
    "significance.seed": 0,
    "report.significance": False,
    "evidence.features": ["vdvae", "clip_text", "clip_vision"],
    "evidence.nearest_by": "clip_vision",
    "evidence.baselines": [
        *("stage1", "recon", "nearest_training", "nearest_training_oracle"),
        *("mean_image", "vdvae", "autoencoder"),
    ],
    "report.spurious": False,
    "rating.images": "recon",
    "rating.stimuli": 100,
    "rating.catch_trials": 10,
    "rating.size": 256,
    "rating.seed": 0,
    "bundle.name": "",
    "bundle.authors": [],
    "bundle.license": "",
    "bundle.source": "",
    "bundle.include": [],
    "haxby.stimuli": "none",
    "ridge.auto.lowest": 1.0,
    "ridge.auto.highest": 1e7,
    "ridge.auto.per_decade": 2,
    "ridge.auto.columns": 2048,
    "ridge.auto.seed": 0,
    "bottleneck.ranks": [1, 2, 5, 10, 20, 50, 100, 200, 500],
    "bottleneck.alpha": 3000.0,
    "bottleneck.weights": "equal",
    "bottleneck.share": 1.0,
    "bottleneck.seed": 0,
    "report.bottleneck": False,
    "scaling.stimuli": [0.125, 0.25, 0.5],
    "scaling.repeats": [1, 2],
    "scaling.sessions": [0.25, 0.5],
    "scaling.voxels": [0.125, 0.5],
    "scaling.draws": 2,
    "scaling.columns": 1024,
    "scaling.seed": 0,
    "report.scaling": False,
}
"""Keys of config.yaml that came after results had been made, and the value that makes the same results.

With that value a key is no part of what a job depends on, so results from before the key are not made again. The code
that reads such a setting has the same default.
"""


def code_key(script: str | Path, root: str | Path, entries: Entries | None = None) -> str:
    """Hash of what a script does; the same as `Code(root).key(script, entries)`."""
    return Code(root).key(script, entries)


def describe_key(code: "Code", script: str, entries: Entries) -> str:
    """JSON of a script, its registry entries and its code key, from which a job can compute the key again."""
    return json.dumps([script, dict(entries), code.key(code.root / script, entries)], sort_keys=True)


def renewed(key: str, root: str | Path) -> str:
    """What `describe_key` gives for the code as it is now, for the job that was planned with `key`."""
    script, entries, _ = json.loads(key)
    return describe_key(Code(root, CACHE), script, entries)


def imports(script: str | Path, root: str | Path) -> set[str]:
    """Names of all packages and modules that a script may import, directly or through the modules below `root`."""
    code = Code(root)
    found: set[str] = set()
    waiting = [code.relative(script)]
    while waiting:
        here = waiting.pop()
        module = code.module(here)
        for each in module.imports if module else ():
            parts = ".".join(filter(None, (code.absolute(here, each), each.name))).split(".")
            names = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
            waiting += [name for name in names - found if code.path(name)]
            found |= names
    return found


def without_added(config: dict, path: str = "") -> dict:
    """A configuration, or the section at a dotted path, without keys of ADDED that have the value given there.

    A section of which nothing is left is left out, too.
    """
    kept = {}
    for key, value in config.items():
        here = f"{path}.{key}" if path else key
        inner = without_added(value, here) if isinstance(value, dict) else value
        is_later = inner == {} and any(each.startswith(f"{here}.") for each in ADDED)
        if not is_later and not (here in ADDED and value == ADDED[here]):
            kept[key] = inner
    return kept


def with_added(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the keys of ADDED that it lacks, at the values given there."""
    filled = copy.deepcopy(dict(config))
    for path, value in ADDED.items():
        *above, key = path.split(".")
        section = filled
        for name in above:
            section = section.setdefault(name, {})
        section.setdefault(key, copy.deepcopy(value))
    return filled


def stage_config(config: dict, *paths: str) -> dict:
    """The values at dotted paths ("recon", "ridge.alpha.clip_text"), as {path: value} with sorted keys at all levels.

    Raises ValueError: the configuration has no such key.
    """
    found = {path: _value(config, path) for path in sorted(paths)}
    return {
        path: _sorted(without_added(value, path) if isinstance(value, dict) else value) for path, value in found.items()
    }


def _value(config: dict, path: str) -> Any:
    value: Any = config
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise ValueError(f"config.yaml has no key {path}; a rule asks for it, so correct the rule or add the key")
        value = value[key]
    return value


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value
