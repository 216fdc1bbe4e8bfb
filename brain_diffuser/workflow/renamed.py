"""Names that configurations and results had before the project's parts moved into rooms, and the names they have now.

Version 0.1 called images pictures, evaluation networks judges, and CLIP layers taps. A configuration or a target with
such a name stops with one sentence that says the new one; `migrate` gives a folder of results the new names.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MIGRATE = "python -m brain_diffuser.migrate"
MIGRATES = "migrates"  # key of the configuration while that command asks for a plan
JOURNAL = ".migration"  # in the folder of results while its files are being renamed

KEYS = {
    "datasets.*.judges": "evaluation_networks",
    "datasets.*.clip_taps": "clip_layers",
    "datasets.*.custom.caution": "disclaimer",
    "datasets.*.custom.adapter": "..adapter",
    "features.clip_taps": "clip_layers",
    "ridge.alpha.clip_taps": "clip_layers",
    "stage1.reading": "pixel_likelihood",
    "metrics.judges": "networks",
    "roi.judge": "network",
    "roi.gain": "scale",
    "roi.parity": "released_protocol",
    "roi.equalise": "equalize_histogram",
    "roi.pictures": "images",
    "roi.contributions": "lesions",
    "shards.judged": "perceptual_scores",
}
"""Old key of config.yaml -> the new name of its last part; * stands for any name, and .. for the section around."""

VALUES = {
    "variants.*.features": {"own": "oracle"},
    "variants.*.guidance.targets": {"own": "oracle"},
    "guidance.targets": {"own": "oracle"},
    "roi.parity": {"none": "false", "released": "true"},
    "datasets.*.custom.adapter": {"none": ""},
}
"""Key of config.yaml -> {old value: new value}; a key whose new value is empty is left out."""

SUBJECT = r"(?P<subject>shared/sessions_[^/]+|(?!demo/|haxby/|dataset/|logs/|benchmarks/|shared/)[^/]+)"
JOB = r"(?P<job>(?:.*/)?(?:logs|benchmarks)/)"
PATHS = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"costs\.csv$", "resource_usage.csv"),
        (rf"{SUBJECT}/nsd(?=/|$)", r"\g<subject>/data"),
        (rf"{SUBJECT}/judged(?=/|$)", r"\g<subject>/perceptual_scores"),
        (rf"{SUBJECT}/shards/judged(?=/|$)", r"\g<subject>/shards/perceptual_scores"),
        (rf"{SUBJECT}/contributions(?=/|$)", r"\g<subject>/lesions"),
        (rf"{SUBJECT}/(?P<stage>optimal|perturbed)/pictures(?=/|_manifest\.tsv$|$)", r"\g<subject>/\g<stage>/images"),
        (rf"{SUBJECT}/optimal/seen(?=/|$)", r"\g<subject>/optimal/category_probe"),
        (r"(?P<folder>[^/]+/(?:optimal/category_probe|roi))/seen\.csv$", r"\g<folder>/category_probe.csv"),
        (r"(?P<folder>[^/]+/(?:optimal/category_probe|roi))/judge\.csv$", r"\g<folder>/category_probe_accuracy.csv"),
        (rf"{SUBJECT}/guidance/pictures\.png$", r"\g<subject>/guidance/images.png"),
        (rf"{JOB}nsd_(?=(?:design|betas|stimuli|captions|regions)[._])", r"\g<job>"),
        (rf"{JOB}judged_", r"\g<job>perceptual_scores_"),
        (rf"{JOB}contributions_", r"\g<job>lesions_"),
        (rf"{JOB}optimal_seen\.", r"\g<job>category_probe."),
        (rf"{JOB}(?P<stage>optimal|perturbed)_pictures\.", r"\g<job>\g<stage>_images."),
        (r"(?P<before>(?:.*/)?(?:\w+_)?)(?<!variants/)clip_taps(?=[_./]|$)", r"\g<before>clip_layers"),
    )
)
"""Beginnings of paths in the folder of results -> what stands there now, one after the other."""

RULES = {
    "fetch_judges": "fetch_evaluation_networks",
    "nsd_design": "design",
    "nsd_betas": "betas",
    "nsd_stimuli": "stimuli",
    "nsd_captions": "captions",
    "nsd_regions": "regions",
    "judged": "perceptual_scores",
    "judged_shard": "perceptual_scores_shard",
    "contributions": "lesions",
    "optimal_pictures": "optimal_images",
    "perturbed_pictures": "perturbed_images",
    "optimal_seen": "category_probe",
    "ridge_taps": "ridge_layers",
}


def problems(config: Mapping[Any, Any]) -> list[str]:
    """One sentence for each key or value of a configuration that has another name now."""
    return [
        *(
            f"{path} is now {_beside(path, KEYS[pattern])}; {_fix(pattern, value)}"
            for pattern in KEYS
            for path, value in _entries(config, pattern.split("."))
        ),
        *(
            f"{path}: {value} is now {VALUES[pattern][value]}; write {path}: {VALUES[pattern][value]}"
            for pattern in VALUES.keys() - KEYS.keys()
            for path, value in _entries(config, pattern.split("."))
            if isinstance(value, str) and value in VALUES[pattern]
        ),
    ]


def new_path(path: str) -> str:
    """The name that a path in the folder of results has now; the path is relative to that folder."""
    for old, new in PATHS:
        found = old.match(path)
        if found:
            path = found.expand(new) + path[found.end() :]
    return path


def target_problem(target: str, results: str) -> str:
    """One sentence if a target is an old path in the folder of results or the old name of a rule; otherwise empty."""
    if target in RULES:
        return f"rule {target} is now {RULES[target]}; ask for {RULES[target]}"
    root = f"{results.rstrip('/')}/"
    inside = target.removeprefix(root).rstrip("/") if target.startswith(root) else ""
    now = new_path(inside)
    if now == inside:
        return ""
    return f"{target} is now {root}{now}; ask for that (results made before are renamed by {MIGRATE} {root[:-1]})"


def check_results(results: Path, subjects: Sequence[str]) -> None:
    """Refuse a folder of results with old names: nothing would be read, and everything made a second time.

    Raises ValueError: the folder has old names, or its migration was interrupted.
    """
    if (results / JOURNAL).is_dir():
        raise ValueError(f"the migration of {results} was interrupted; run {MIGRATE} {results}, which finishes it")
    for path in (results / subject / name for subject in subjects for name in ("nsd", "judged")):
        if path.is_dir():
            raise ValueError(
                f"{path} is now {results / new_path(path.relative_to(results).as_posix())}; run {MIGRATE} {results}, "
                "which gives the results that are there their new names and keeps them valid (nothing was changed)"
            )


def _entries(section: Any, parts: list[str], above: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a configuration that match a pattern, with their values."""
    first, *others = parts
    for key, value in section.items() if isinstance(section, Mapping) else ():
        if first in ("*", key):
            path = f"{above}{key}"
            if others:
                yield from _entries(value, others, f"{path}.")
            else:
                yield path, value


def _beside(path: str, name: str) -> str:
    """The new path of a key."""
    above = path.split(".")[:-1]
    if name.startswith(".."):
        above, name = above[:-1], name.removeprefix("..")
    return ".".join([*above, name])


def _fix(pattern: str, value: Any) -> str:
    """What to do with a renamed key, whose values may have other names, too."""
    new = VALUES.get(pattern, {}).get(str(value).lower())
    if new == "":
        return f"it is left out for {value}, so delete the key"
    words = "move the key" if KEYS[pattern].startswith("..") else "rename the key"
    return f"{words}, and write {new} for {value}" if new else words
