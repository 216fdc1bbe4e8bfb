"""The record that describes a kind of test set: another experiment with a subject of NSD, for the decoder as it is.

Modules of kinds are imported while the configuration is read, so they import programs that read data inside of their
functions only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from brain_diffuser.artifacts import messages
from brain_diffuser.data.adapter import Config, Source

TARGETS = "targets.tsv"
"""The table of a test set's targets, beside that of its stimuli."""
COLUMNS = ("nsd_id", "set", "name")
"""Its columns: the id of a stimulus, the group that it belongs to, and what it is called."""
FIRST_ID = 100_000
"""Ids of stimuli that are no images of NSD begin here; NSD has 0 to 72,999."""
WORDS = "words"
"""The name of the part of a test set whose targets are words, which has a folder of its own."""
SIDE = 425
"""Pixels of a stimulus image, as of NSD's own."""
GREY = 127
"""The level of what surrounds a stimulus in its frame."""
BETAS = {"b2": "betas_fithrf", "b3": "betas_fithrf_GLMdenoise_RR"}
"""Versions of NSD's betas by their short names, and what folders of core sessions call them."""
SAME = "same"
"""Of `betas`: the version that `nsd.betas` names."""


class Kind(NamedTuple):
    """A kind of test set.

    Parameters
    ----------
    keys : {key of config.yaml: its default}
        What it reads of the section.
    choices : {key: values}
        What a key with few values may be.
    runs : (settings) -> labels
        The group of each trial in the file of betas within which it is z-scored, in the order of the file; a trial
        that is never z-scored has one, too.
    betas_files : (config, subject, settings) -> paths
        The files that the betas may be in; the first that exists is read.
    inputs : (config, stage, subject, settings) -> {name: Source}
        What the stages "table" and "stimuli" read beside each other's artifacts.
    write_table : (inputs, outputs, settings) -> None
        Write `outputs.stimuli` (`stimulus_table.write_chosen`) and `outputs.targets`.
    write_stimuli : (inputs, outputs, settings) -> None
        Write the stimulus images, in the order of the table.
    n_stimuli : (config, subject, settings) -> int
        The number of stimuli, or the largest possible number while that is not known.
    parts : (settings) -> {suffix: settings}
        The folders of results that a section stands for: "" for stimuli with images, `WORDS` for those without.
    about : str
        What it is, in tables.
    """

    keys: Mapping[str, Any]
    choices: Mapping[str, Sequence[Any]]
    runs: Callable[[Mapping[str, Any]], list[str]]
    betas_files: Callable[[Config, str, Mapping[str, Any]], list[str]]
    inputs: Callable[[Config, str, str, Mapping[str, Any]], Mapping[str, Source]]
    write_table: Callable[[Any, Any, Mapping[str, Any]], None]
    write_stimuli: Callable[[Any, Any, Mapping[str, Any]], None]
    n_stimuli: Callable[[Config, str, Mapping[str, Any]], int]
    parts: Callable[[Mapping[str, Any]], dict[str, dict[str, Any]]]
    about: str


def problems(name: str, section: Mapping[str, Any], kind: Kind, nsd_betas: str) -> Iterator[messages.Sentence]:
    """What is wrong with a section of `test_sets`, found without looking at files.

    Parameters
    ----------
    name : str
        The key of the section.
    section : mapping
        Its values, without those that are not written.
    kind : Kind
    nsd_betas : str
        The version of the betas that the decoder is trained on.
    """
    where, words = f"test_sets.{name}", f"a test set of kind {section['kind']}"
    for key in [key for key in section if key not in (*kind.keys, "kind", "images")]:
        yield f"{where} has {key}, which {words} does not read; take it out"
    for key, values in kind.choices.items():
        given = section.get(key, kind.keys[key])
        others = [each for each in (given if isinstance(given, list) else [given]) if each not in values]
        if others:
            yield f"{where}.{key} is {others[0]}; expected {', '.join(map(str, values))}"
    if section.get("betas", SAME) == SAME and nsd_betas not in BETAS.values():
        yield f"{where}.betas is {SAME}, and nsd.betas is {nsd_betas}; expected b2 or b3, so set {where}.betas"


def version_of(config: Config, settings: Mapping[str, Any]) -> str:
    """The version of a test set's betas, as names of folders have it: fithrf, or fithrf_GLMdenoise_RR."""
    named = config.nsd.betas if settings["betas"] == SAME else BETAS[settings["betas"]]
    return named.removeprefix("betas_")


def write_targets(path: Any, rows: Sequence[tuple[int, str, str]]) -> None:
    """Write the table of targets, in the order of the stimuli."""
    from brain_diffuser.artifacts import tables

    tables.write_tsv(path, COLUMNS, rows)


def read_targets(path: Any) -> list[tuple[int, str, str]]:
    """The id, the set and the name of each target."""
    import numpy as np

    from brain_diffuser.artifacts import tables

    rows = tables.read_rows(path, COLUMNS)
    ids = tables.numbers(path, rows, "nsd_id", np.int32).tolist()
    return [(number, row["set"], row["name"]) for number, row in zip(ids, rows, strict=True)]
