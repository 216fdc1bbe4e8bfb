"""Your own data as BIDS and GLMsingle have written them, or in the plain layout (docs/your_data.md)."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import messages
from brain_diffuser.data import custom
from brain_diffuser.data.adapter import NONE, Adapter, Config, only_file

SPLIT = "split"
"""The column of events with train, test or n/a, unless `settings.split` says something else."""


def split_of(config: Config) -> str | int:
    """The column that has the split of each trial, or how often test stimuli are shown at least."""
    return (config.paths.settings or {}).get("split", SPLIT)


def job_settings(config: Config, stage: str, subject: str) -> dict[str, Any]:
    """The values on which a stage's artifacts depend."""
    settings = custom.job_settings(config, stage, subject)
    return settings | {"split": split_of(config)} if stage in ("design", "betas") else settings


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The number of stimuli of a split."""
    return _counts(tuple(custom.subject_files(config, "trials", subject)), split_of(config))[split]


def problems(config: Config) -> Iterator[messages.Sentence]:
    """What is wrong with names, templates and `settings`, which has one key: split, a column or a number from 2."""
    yield from custom.problems(config)
    where, settings = f"datasets.{config.dataset}.settings", config.paths.settings or {}
    unknown = [key for key in settings if key != "split"]
    if unknown:
        yield f"{where}.{unknown[0]} is not a known key; expected split alone, so remove it"
    split = settings.get("split", SPLIT)
    is_number = isinstance(split, int) and not isinstance(split, bool)
    if not ((is_number and split >= 2) or (isinstance(split, str) and split)):
        yield (
            f"{where}.split is {split}; expected the name of a column of the events, or a whole number from 2: stimuli "
            "shown so often or more are the test"
        )


def validate(config: Config, record: Path) -> None:
    """Read all files from end to end. Raises ValueError: the dataset has problems, of which the message lists all."""
    from brain_diffuser.data import bids_checks, custom_checks

    subjects = [_subject(config, subject) for subject in config.subjects]
    captions = None if config.paths.captions == NONE else config.paths.captions
    plain = config.paths.custom
    checks = custom_checks.Checks(config.nsd.constant_voxels, plain.zscore, plain.check_affine)
    bids_checks.validate(record, subjects, plain.stimuli, captions, checks, split_of(config))


def write_design(inputs: Any, outputs: Any, settings: Any) -> None:
    """Write which trial showed which stimulus, which stimuli train and test, and the names of their images."""
    from brain_diffuser.data import custom_files, stimulus_table

    ids = custom_files.stimulus_ids(settings["folder"])
    splits = custom_files.split_stimuli(read_trials(inputs.trials, settings["split"]), ids)
    used = set(stimulus_table.all_ids(splits).tolist())
    custom.write_ids(only_file(outputs.tables), {name: number for name, number in ids.items() if number in used})
    stimulus_table.write(outputs.stimuli, splits)


def write_betas(inputs: Any, outputs: Any, settings: Any) -> None:
    """Write betas averaged over repeats, and where their voxels lie."""
    from brain_diffuser.data import averages, bids_files, stimulus_table

    splits, trials = stimulus_table.read(inputs.stimuli), read_trials(inputs.trials, settings["split"])
    paths = bids_files.in_order(inputs.betas)
    mask = bids_files.read_mask(Path(only_file(inputs.mask)) if inputs.mask else None, paths[0])
    blocks = bids_files.read_betas(paths, trials, mask.selected, settings["zscore"])
    betas, ncsnr = averages.average_trials(blocks, len(trials), int(mask.selected.sum()), splits)
    unit = "as given" if settings["zscore"] == NONE else "standard deviations of a session"
    averages.write(outputs, betas, ncsnr, mask, settings["nsd.constant_voxels"], unit)


def read_trials(paths: Sequence[str], split: str | int) -> list[Any]:
    """The trials of a subject in the order of betas, from BIDS' events or from one plain table of trials."""
    from brain_diffuser.data import bids_events, custom_files

    if bids_events.is_table_of_events(paths[0]):
        return bids_events.read_trials(paths, split)
    return custom_files.read_trials(only_file(paths))


def _subject(config: Config, subject: str) -> Any:
    """The files of a subject, as validation takes them."""
    from brain_diffuser.data import bids_checks, custom_files

    trials = custom.subject_files(config, "trials", subject)
    files = custom_files.SubjectFiles.from_names(
        subject,
        trials[0] if len(trials) == 1 else custom.template_of(config, "trials", subject),
        custom.subject_files(config, "betas", subject),
        custom.subject_files(config, "mask", subject),
        custom.roi_files(config, subject),
    )
    return bids_checks.Subject(files, tuple(map(Path, trials)))


@functools.cache
def _counts(trials: tuple[str, ...], split: str | int) -> Mapping[str, int]:
    from brain_diffuser.data import custom_files

    rows = read_trials(trials, split)
    return {name: len({row.stim_file for row in rows if row.split == name}) for name in custom_files.SPLITS}


ADAPTER = Adapter(
    inputs=custom.inputs,
    write_design=write_design,
    write_betas=write_betas,
    write_stimuli=custom.write_stimuli,
    write_captions=custom.write_captions,
    n_stimuli=n_stimuli,
    job_settings=job_settings,
    section="custom",
    problems=problems,
    files=custom.files,
    validate=validate,
    regions=custom.regions,
    tables=(custom.STIM_FILES,),
)
