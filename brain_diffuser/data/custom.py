"""Your own data, and others in the plain layout of docs/your_data.md: files, and the artifacts of a subject."""

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import messages
from brain_diffuser.data.adapter import ANY_TEXT, NONE, Adapter, Config, Source, fill_subject, matching_files, only_file

STIM_FILES = "stim_files.tsv"
"""The table of image names that `design` writes."""
STIM_FILES_HEADER = ("nsd_id", "stim_file")


def subject_files(config: Config, key: str, subject: str) -> list[str]:
    """The files of `trials`, `betas` or `mask` of a subject: none, one, or one for each session or run."""
    path = template_of(config, key, subject)
    if path == NONE:
        return []
    return [str(each) for each in matching_files(path)] if any(word in path for word in ANY_TEXT) else [path]


def template_of(config: Config, key: str, subject: str) -> str:
    """The path of `trials`, `betas` or `mask` of a subject; {session} and {run} in it stand for any text."""
    return fill_subject(getattr(config.paths.custom, key), subject)


def roi_files(config: Config, subject: str) -> dict[str, str]:
    """The masks of a subject's regions, by name."""
    return {name: fill_subject(path, subject) for name, path in config.paths.custom.rois.items()}


def inputs(config: Config, stage: str, subject: str) -> dict[str, Source]:
    """What a stage reads of the files in the plain layout."""
    where = f"datasets.{config.dataset}"

    def files(key: str) -> Source:
        return Source(f"{where}.custom.{key}", subject_files(config, key, subject))

    images = Source(f"{where}.custom.stimuli", [config.paths.custom.stimuli] if _images_are_written(config) else [])
    stim_files = Source("", [f"<results>/{subject}/data/{STIM_FILES}"])
    if stage == "design":
        return {"trials": files("trials"), "images": images}
    if stage == "betas":
        return {key: files(key) for key in ("trials", "betas", "mask")}
    if stage == "stimuli":
        return {"stim_files": stim_files, "images": images}
    captions = [] if config.paths.captions == NONE else [config.paths.captions]
    return {"stim_files": stim_files, "captions": Source(f"{where}.captions", captions)}


def job_settings(config: Config, stage: str, subject: str) -> dict[str, Any]:
    """The values on which a stage's artifacts depend; `design` also depends on the names of all images."""
    custom = config.paths.custom
    if stage == "betas":
        return {"nsd.constant_voxels": config.nsd.constant_voxels, "zscore": custom.zscore}
    if stage == "captions":
        return {}
    names = {"names": "" if _images_are_written(config) else _names_key(custom.stimuli)} if stage == "design" else {}
    return {"folder": custom.stimuli, **names}


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The number of stimuli of a split in the trials table."""
    (trials,) = subject_files(config, "trials", subject)
    return _counts(trials)[split]


def problems(config: Config) -> Iterator[messages.Sentence]:
    """What is wrong with names of regions and with templates of paths."""
    where, custom = f"datasets.{config.dataset}", config.paths.custom
    for name in custom.rois:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name) or name.lower() == "all":
            yield f"{where}.custom.rois has {name}; expected a name of letters, digits, _ . + and -, so rename it"
    for key in ("trials", "betas", "mask"):
        template = getattr(custom, key)
        is_of_all = not any(word in template for word in ("{label}", "{subject}"))
        if len(config.subjects) > 1 and is_of_all and template != NONE:
            yield f"{where}.custom.{key} is {template}, for {len(config.subjects)} subjects; write {{label}} in it"


def files(config: Config) -> Iterator[tuple[str, str]]:
    """(key, path) of all files of the chosen subjects."""
    where, custom = f"datasets.{config.dataset}.custom", config.paths.custom
    templates = {key: getattr(custom, key) for key in ("trials", "betas", "mask", "stimuli")}
    templates |= {f"rois.{name}": path for name, path in custom.rois.items()}
    for key, template in templates.items():
        for path in dict.fromkeys(fill_subject(template, subject) for subject in config.subjects):
            if path != NONE:
                yield f"{where}.{key}", path


def validate(config: Config, record: Path) -> None:
    """Read all files from end to end. Raises ValueError: the dataset has problems, of which the message lists all."""
    from brain_diffuser.data import custom_checks, custom_files

    subjects = [
        custom_files.SubjectFiles.from_names(
            subject,
            subject_files(config, "trials", subject)[0],
            subject_files(config, "betas", subject),
            subject_files(config, "mask", subject),
            roi_files(config, subject),
        )
        for subject in config.subjects
    ]
    captions = None if config.paths.captions == NONE else config.paths.captions
    custom = config.paths.custom
    checks = custom_checks.Checks(config.nsd.constant_voxels, custom.zscore, custom.check_affine)
    custom_checks.validate(record, subjects, custom.stimuli, captions, checks)


def regions(config: Config) -> dict[str, Any]:
    """The regions of `custom.rois`, each of which is a mask."""
    custom = config.paths.custom
    checks = {} if custom.check_affine else {"check_affine": False}
    return {name: {"mask": path, **checks} for name, path in custom.rois.items()}


def write_design(inputs: Any, outputs: Any, settings: Any) -> None:
    """Write which trial showed which stimulus, which stimuli train and test, and the names of their images."""
    from brain_diffuser.data import custom_files, stimulus_table

    trials, ids = custom_files.read_trials(only_file(inputs.trials)), custom_files.stimulus_ids(settings["folder"])
    splits = custom_files.split_stimuli(trials, ids)
    used = set(stimulus_table.all_ids(splits).tolist())
    write_ids(only_file(outputs.tables), {name: number for name, number in ids.items() if number in used})
    stimulus_table.write(outputs.stimuli, splits)


def write_betas(inputs: Any, outputs: Any, settings: Any) -> None:
    """Write betas averaged over repeats, and where their voxels lie."""
    from brain_diffuser.data import averages, custom_files, stimulus_table

    splits, trials = stimulus_table.read(inputs.stimuli), custom_files.read_trials(only_file(inputs.trials))
    paths = [Path(path) for path in inputs.betas]
    mask = custom_files.read_mask(
        Path(only_file(inputs.mask)) if inputs.mask else None, custom_files.n_voxels(paths[0])
    )
    blocks = custom_files.read_betas(paths, trials, mask.selected, settings["zscore"])
    betas, ncsnr = averages.average_trials(blocks, len(trials), int(mask.selected.sum()), splits)
    unit = "as given" if settings["zscore"] == NONE else "standard deviations of a session"
    averages.write(outputs, betas, ncsnr, mask, settings["nsd.constant_voxels"], unit)


def write_stimuli(inputs: Any, outputs: Any, settings: Any, split: str, note_files: Any) -> None:
    """Write the images of a split, and note them as read."""
    from brain_diffuser.data import custom_files, stimulus_table

    nsd_id = stimulus_table.read(inputs.stimuli)[split].nsd_id
    names = {number: name for name, number in read_ids(only_file(inputs.stim_files)).items()}
    note_files(settings["folder"], (names[number] for number in nsd_id.tolist()))
    custom_files.copy_images(settings["folder"], outputs.images, nsd_id, names)


def write_captions(inputs: Any, outputs: Any, settings: Any) -> None:
    """Write the captions of all stimuli; where there are none, one that says so and is the same for all."""
    from brain_diffuser.data import captions, custom_files, stimulus_table

    names = {number: name for name, number in read_ids(only_file(inputs.stim_files)).items()}
    known = custom_files.read_captions(only_file(inputs.captions)) if inputs.captions else {}
    ids = stimulus_table.all_ids(stimulus_table.read(inputs.stimuli)).tolist()
    texts = {
        number: known[custom_files.composed(names[number])] if known else [custom_files.NO_CAPTION] for number in ids
    }
    captions.write_captions(outputs.captions, texts)


def write_ids(path: str | Path, ids: Mapping[str, int]) -> None:
    """Write a table of nsd_id and stim_file, from the nsd_id of every stim_file."""
    from brain_diffuser.artifacts import tables

    tables.write_tsv(path, STIM_FILES_HEADER, ((number, name) for name, number in ids.items()))


def read_ids(path: str | Path) -> dict[str, int]:
    """The nsd_id of every stim_file, from the table that `write_ids` wrote."""
    import numpy as np

    from brain_diffuser.artifacts import tables

    rows = tables.read_rows(path, STIM_FILES_HEADER)
    ids = tables.numbers(path, rows, "nsd_id", np.int32).tolist()
    return {row["stim_file"]: nsd_id for row, nsd_id in zip(rows, ids, strict=True)}


def _images_are_written(config: Config) -> bool:
    """Whether a rule writes the images: they are then inputs of jobs. Else receipts note the images that were read."""
    return "stimuli" in config.adapter.written


@functools.cache
def _names_key(folder: str) -> str:
    """A short key of the names of all images in a folder."""
    from brain_diffuser.data import custom_files

    return hashlib.sha256(repr(sorted(custom_files.stimulus_ids(folder))).encode()).hexdigest()[:16]


@functools.cache
def _counts(trials: str) -> dict[str, int]:
    from brain_diffuser.data import custom_files

    return custom_files.count_stimuli(trials)


ADAPTER = Adapter(
    inputs=inputs,
    write_design=write_design,
    write_betas=write_betas,
    write_stimuli=write_stimuli,
    write_captions=write_captions,
    n_stimuli=n_stimuli,
    job_settings=job_settings,
    section="custom",
    problems=problems,
    files=files,
    validate=validate,
    regions=regions,
    tables=(STIM_FILES,),
)
