"""NSD-Imagery: a session in which the subjects of NSD saw, attended to and imagined 18 targets.

The file of betas has 720 rows: 12 runs of 48 trials, and two betas for each trial of the three attention runs, which
are not used. The order of the runs, the cue letters and the targets are those of published loaders.

Source: Kneeland et al. 2025, arXiv 2506.06898.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from brain_diffuser.data import nsd, test_set
from brain_diffuser.data.adapter import Config, Source
from brain_diffuser.data.test_set import Kind

TRIALS = 48
"""Trials of a run."""
RUNS = ("visA", "attA", "imgA_1", "visB", "attB", "imgB_1", "visC", "attC", "imgC_1", "imgA_2", "imgB_2", "imgC_2")
"""The runs in the order of the betas."""
CONDITIONS = {"vision": "vis", "imagery": "img", "attention": "att"}
SETS: dict[str, dict[str, str]] = {
    "A": {
        "H": "bar_000.0deg",
        "R": "bar_045.0deg",
        "V": "bar_090.0deg",
        "L": "bar_135.0deg",
        "P": "crs_000.0deg",
        "E": "crs_045.0deg",
    },
    "B": {
        "W": "shared0385_nsd28752",
        "K": "shared0413_nsd30857",
        "B": "shared0741_nsd53882",
        "C": "shared0842_nsd61178",
        "D": "shared0907_nsd65873",
        "T": "shared0000_nsd00000",
    },
    "C": {"S": "yellow", "Z": "stripes", "M": "banana", "Y": "zebra", "N": "fruit", "F": "mammal"},
}
"""{set: {cue letter: what the name of the target's file begins with, or the concept}}."""
WITH_IMAGES = ("A", "B")
ENDINGS = {"A": "_450L_43W.png", "B": ".png"}
"""What names of target files end in, where no file is there to tell."""


class Block(NamedTuple):
    """The rows of a run in the file of betas."""

    run: str
    start: int
    stop: int

    @property
    def condition(self) -> str:
        return next(name for name, word in CONDITIONS.items() if self.run.startswith(word))

    @property
    def set(self) -> str:
        return self.run[3]


def blocks() -> list[Block]:
    """The runs and their rows: attention runs have two betas for each trial."""
    sizes = [TRIALS * (2 if run.startswith("att") else 1) for run in RUNS]
    ends = list(itertools.accumulate(sizes))
    return [Block(run, end - size, end) for run, size, end in zip(RUNS, sizes, ends, strict=True)]


def targets(sets: list[str]) -> Iterator[tuple[str, str, int, str]]:
    """The set, the cue letter, the id and the name of each target of some sets, set by set.

    Images of NSD have their nsd_id, which is one less than the number in their file's name; others have
    `test_set.FIRST_ID` and more.
    """
    place = itertools.count(test_set.FIRST_ID)
    for name, cues in SETS.items():
        for cue, stem in cues.items():
            number = next(place)
            published = int(stem.partition("_nsd")[2] or 0)
            if name in sets:
                yield name, cue, published - 1 if published else number, stem


def runs(settings: Mapping[str, Any]) -> list[str]:
    """The run, or the condition, of each row of the betas."""
    is_condition = settings["zscore"] == "condition"
    return [
        label
        for block in blocks()
        for label in [block.condition if is_condition else block.run] * (block.stop - block.start)
    ]


def betas_files(config: Config, subject: str, settings: Mapping[str, Any]) -> list[str]:
    """The two forms of the file of betas."""
    root, number = config.paths.nsd, nsd.subject_number(subject)
    folder = f"{root}/nsddata_betas/ppdata/subj{number:02d}/func1pt8mm"
    folder = f"{folder}/nsdimagerybetas_{test_set.version_of(config, settings)}"
    return [f"{folder}/betas_nsdimagery{ending}" for ending in (".hdf5", ".nii.gz")]


def inputs(config: Config, stage: str, subject: str, settings: Mapping[str, Any]) -> dict[str, Source]:
    """The tables of runs that the stage "table" reads, or the target images of "stimuli"."""
    key = f"datasets.{config.dataset}.nsd"
    if stage == "table":
        return {"runs": Source(key, run_files(config, subject, [block.run for block in _chosen(settings)]))}
    files = [
        target_file(f"{_images(config)}/set{name}", name, stem)
        for name, _, _, stem in targets(settings["sets"])
        if name in WITH_IMAGES
    ]
    return {"images": Source(key, files)}


def run_files(config: Config, subject: str, names: Sequence[str]) -> list[str]:
    """The tables of some runs of a subject."""
    stem = f"{config.paths.nsd}/nsddata/bdata/nsdimagery/nsdimagery_subj{nsd.subject_number(subject):02d}"
    return [f"{stem}_{name}.tsv" for name in names]


def default_images(config: Config) -> list[str]:
    """The images of all targets under the names that they should have."""
    listed = targets(list(WITH_IMAGES))
    return [f"{_images(config)}/set{name}/{stem}{ENDINGS[name]}" for name, _, _, stem in listed]


def _images(config: Config) -> str:
    return f"{config.paths.nsd}/nsddata/experiments/nsdimagery/rawtargetimages"


def target_file(folder: str, name: str, stem: str) -> str:
    """The image of a target: the only one whose name begins with `stem`, or the name that it should have.

    Raises ValueError: several files may be meant.
    """
    found = sorted(path for path in Path(folder).glob("*") if path.name.startswith(stem) and path.suffix == ".png")
    if len(found) > 1:
        raise ValueError(
            f"{folder} has {found[0].name} and {found[1].name}; expected one image of the target {stem}, so move the "
            "other one away"
        )
    return found[0].as_posix() if found else f"{folder}/{stem}{ENDINGS[name]}"


def _chosen(settings: Mapping[str, Any]) -> list[Block]:
    """The runs of the condition and the sets."""
    return [each for each in blocks() if each.condition == settings["condition"] and each.set in settings["sets"]]


def write_table(inputs: Any, outputs: Any, settings: Mapping[str, Any]) -> None:
    """Write which rows of the betas belong to which target.

    Raises ValueError: the table of a run has not as many rows as betas, another letter than its set has, or a target is
    in no run.
    """
    import numpy as np

    from brain_diffuser.artifacts import tables
    from brain_diffuser.data import stimulus_table

    trials: dict[str, list[int]] = {}
    for path, block in zip(inputs.runs, _chosen(settings), strict=True):
        rows = tables.read_rows(path, ("CONDITION",))
        if len(rows) != block.stop - block.start:
            raise ValueError(
                f"{path} has {len(rows)} rows; expected {block.stop - block.start}, one for each beta of the run "
                f"{block.run}. Download it again."
            )
        letters = SETS[block.set]
        for place, row in enumerate(rows):
            cue = row["CONDITION"].strip()
            if cue not in letters:
                raise ValueError(
                    f"{path} line {place + 2}: CONDITION is {row['CONDITION']!r}; expected a cue letter of set "
                    f"{block.set}, {', '.join(letters)}. Is it the table of another run?"
                )
            trials.setdefault(cue, []).append(block.start + place)
    listed = list(targets(settings["sets"]))
    lacking = [(name, cue, stem) for name, cue, _, stem in listed if cue not in trials]
    if lacking:
        name, cue, stem = lacking[0]
        raise ValueError(
            f"{inputs.runs[0]} and the other runs of {settings['condition']} never have the cue letter {cue}, of "
            f"{stem} in set {name}; expected every target. Download them again."
        )
    ids = np.array([number for _, _, number, _ in listed], np.int32)
    chosen = stimulus_table.Stimuli(ids, tuple(np.array(trials[cue], np.int64) for _, cue, _, _ in listed))
    stimulus_table.write_chosen(outputs.stimuli, chosen)
    test_set.write_targets(outputs.targets, [(number, name, stem) for name, _, number, stem in listed])


def write_stimuli(inputs: Any, outputs: Any, settings: Mapping[str, Any]) -> None:
    """Write the target images in the order of the table; grey ones stand for words, which have none."""
    import numpy as np

    from brain_diffuser.artifacts import hdf5
    from brain_diffuser.data import target_images

    ids = np.array([number for _, _, number, _ in targets(settings["sets"])], np.int32)
    if settings.get("words"):
        images = np.full((len(ids), test_set.SIDE, test_set.SIDE, 3), test_set.GREY, np.uint8)
    else:
        images = np.stack([target_images.read(path, settings["fill"]) for path in inputs.images])
    hdf5.save(outputs.images, images, ids, axes=("height", "width", "rgb"), flatten=False)


def n_stimuli(config: Config, subject: str, settings: Mapping[str, Any]) -> int:
    """Six targets a set."""
    return sum(1 for _ in targets(settings["sets"]))


def parts(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sets with images, and the set of words, which can be reconstructed and not scored."""
    chosen = [name for name in SETS if name in settings["sets"]]
    with_images = [name for name in chosen if name in WITH_IMAGES]
    found = {"": {**settings, "sets": with_images, "words": False}} if with_images else {}
    words = [name for name in chosen if name not in WITH_IMAGES]
    return found | ({test_set.WORDS: {**settings, "sets": words, "words": True}} if words else {})


KIND = Kind(
    keys={"condition": "imagery", "sets": ["A", "B", "C"], "betas": test_set.SAME, "zscore": "run", "fill": 1.0},
    choices={
        "condition": ("imagery", "vision"),
        "sets": tuple(SETS),
        "betas": (test_set.SAME, *test_set.BETAS),
        "zscore": ("run", "condition", "session", "none"),
    },
    runs=runs,
    betas_files=betas_files,
    inputs=inputs,
    write_table=write_table,
    write_stimuli=write_stimuli,
    n_stimuli=n_stimuli,
    parts=parts,
    about="NSD-Imagery",
)
