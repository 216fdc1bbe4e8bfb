"""The record that describes a kind of dataset to the pipeline, and what several datasets need to fill one in.

Four rules make the artifacts of a subject from any dataset: `design`, `betas`, `stimuli` and `captions`
(rules/data/stages.smk). An adapter says what each of them reads and holds the function that writes its artifacts.
docs/extend.md shows how to add one. The modules of adapters are imported while the configuration is read, so they
import programs that read data inside of their functions only.
"""

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

NONE = "none"
"""In config.yaml: there is no such file."""

ANY_TEXT = ("{session}", "{run}")
"""Words of paths that stand for any text: one file for each session or run."""

OWN_FILES = "stim"
"""Prefix of the names of image files of datasets that are not NSD: stim00007.png."""

Config = Any
"""The checked configuration, brain_diffuser.workflow.config.schema.Config, which this room does not import."""


class Source(NamedTuple):
    """Files that a job reads.

    Parameters
    ----------
    key
        The key of config.yaml that leads to the files; messages name it if a file is missing. Empty for files that
        other jobs of the workflow write.
    paths
        The files.
    """

    key: str
    paths: list[str]


def _nothing(config: Config) -> Iterator[Any]:
    """Nothing to say."""
    yield from ()


def _no_settings(config: Config, stage: str, subject: str) -> dict[str, Any]:
    return {}


def _no_regions(config: Config) -> dict[str, Any]:
    return {}


def _nothing_shared(config: Config, subject: str) -> str | None:
    return None


def _no_sessions(config: Config, subject: str) -> list[int]:
    return []


class Adapter(NamedTuple):
    """What the pipeline has to know of a kind of dataset. A stage is "design", "betas", "stimuli" or "captions".

    Parameters
    ----------
    inputs : (config, stage, subject) -> {name: Source}
        What a stage reads, beside the table `stimuli` that `design` writes and all others read.
    write_design : (inputs, outputs, settings) -> None
        Write the table of stimuli and trials (`stimulus_table.write`) to `outputs.stimuli`. `inputs` and `outputs`
        have the paths under their names, `inputs` as lists; `settings` are those of `job_settings`.
    write_betas : (inputs, outputs, settings) -> None
        Write `outputs.train`, `outputs.test` and `outputs.rois` (`averages.write`).
    write_stimuli : (inputs, outputs, settings, split, note_files) -> None
        Write the images of a split to `outputs.images`, in the order of the table. `note_files(folder, names)` notes
        files in the receipt that are read and are no inputs of the rule.
    write_captions : (inputs, outputs, settings) -> None
        Write `outputs.captions` (`captions.write_captions`).
    n_stimuli : (config, subject, split) -> int
        The number of stimuli of a split, or the largest possible number while that is not known; jobs are planned for
        as many.
    job_settings : (config, stage, subject) -> {name: value}
        Values on which the artifacts of a stage depend. The stage runs again if one changes.
    section : str
        The key of a dataset in config.yaml that holds the adapter's own settings: "nsd", "custom" or "settings".
    settings_model : a pydantic model, optional
        Checks `settings`; or something else with `model_validate`, which raises a ValueError that begins with the key.
    problems : (config) -> sentences
        What is wrong with the configuration, found without looking at files.
    files : (config) -> (key, path) pairs
        Files that must exist before any job starts, beside those of `written`.
    validate : (config, record) -> None, optional
        Read all files before any job starts; raises ValueError. `record` is the file that remembers a sound dataset.
    regions : (config) -> {name: definition}
        The regions of the brain, as `rois.masks` reads definitions.
    shared : (config, subject) -> str or None
        A folder of results that stands for all subjects with the same test stimuli.
    sessions : (config, subject) -> numbers
        The sessions that are read. A later run that finds fewer is refused if all are asked for.
    prefix : str
        What the names of a stimulus' image files begin with; the nsd_id follows.
    tables : names of files
        What `design` writes beside the table of stimuli, in the same folder.
    written : keys
        The keys of the dataset in config.yaml whose files `rules` writes.
    rules : str
        The rule file rules/data/{rules}.smk that writes these files; empty if there is none.
    analyses : str
        The rule file rules/evaluation/{analyses}.smk with analyses of this dataset alone; empty if there is none.
    betas_mem_mb : int
        Memory of the job `betas`, in megabytes.
    about : str
        What the dataset is, in the report.
    stimuli_terms : str
        What forbids to pass stimuli on; the report says it where it shows them. Empty if nothing does.
    """

    inputs: Callable[[Config, str, str], Mapping[str, Source]]
    write_design: Callable[[Any, Any, Mapping[str, Any]], None]
    write_betas: Callable[[Any, Any, Mapping[str, Any]], None]
    write_stimuli: Callable[[Any, Any, Mapping[str, Any], str, Callable[..., None]], None]
    write_captions: Callable[[Any, Any, Mapping[str, Any]], None]
    n_stimuli: Callable[[Config, str, str], int]
    job_settings: Callable[[Config, str, str], dict[str, Any]] = _no_settings
    section: str = "settings"
    settings_model: Any = None
    problems: Callable[[Config], Iterator[str]] = _nothing
    files: Callable[[Config], Iterator[tuple[str, str]]] = _nothing
    validate: Callable[[Config, Path], None] | None = None
    regions: Callable[[Config], dict[str, Any]] = _no_regions
    shared: Callable[[Config, str], str | None] = _nothing_shared
    sessions: Callable[[Config, str], list[int]] = _no_sessions
    prefix: str = OWN_FILES
    tables: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    rules: str = ""
    analyses: str = ""
    betas_mem_mb: int = 6000
    about: str = "own data"
    stimuli_terms: str = ""


def fill_subject(template: str, subject: str) -> str:
    """A path of a subject: `{subject}` in the template stands for sub01, `{label}` for 01."""
    return template.replace("{subject}", subject).replace("{label}", subject.removeprefix("sub"))


def only_file(paths: str | Sequence[str]) -> str:
    """The one file of an input of a job: a list of one, or a text in rules of workflows that reuse this one."""
    if isinstance(paths, str):
        return paths
    (path,) = paths
    return path


def matching_files(template: str | Path) -> list[Path]:
    """The existing files of a path in which `{session}` and `{run}` stand for any text, sorted by name."""
    pattern = glob.escape(str(template))
    for word in ANY_TEXT:
        pattern = pattern.replace(word, "*")
    return [Path(path) for path in sorted(glob.glob(pattern))]
