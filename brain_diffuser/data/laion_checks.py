"""Validation of LAION-fMRI before any job: tables, headers of betas, masks; one sentence for every problem.

Betas are not read here, which would take hours: their values are checked as they are read.
"""

from collections.abc import Iterator
from pathlib import Path

from brain_diffuser.artifacts import messages
from brain_diffuser.data import custom_checks, laion_fmri, laion_tables, laion_volumes, nifti, trial_betas
from brain_diffuser.data.adapter import Config
from brain_diffuser.data.wording import attempt

VERSION = 1  # of the checks; a dataset that passed an earlier version is validated again


def validate(config: Config, record: Path) -> None:
    """Raise one error with all problems of the configured subjects, if there are any.

    `record` remembers a sound dataset by its settings and the names, sizes and dates of its files.

    Raises ValueError: there are problems.
    """
    read = [
        path
        for subject in config.subjects
        for stage in ("design", "betas")
        for source in config.adapter.inputs(config, stage, subject).values()
        for path in source.paths
    ]
    facts = VERSION, config.subjects, config.paths.settings
    custom_checks.validate_once(record, facts, list(map(Path, dict.fromkeys(read))), lambda: problems(config))


def problems(config: Config) -> Iterator[messages.Sentence]:
    """A sentence for every problem of the configured subjects."""
    images, found = attempt(lambda: laion_tables.read_metadata(laion_fmri.metadata_file(config)))
    yield from found
    for subject in config.subjects:
        yield from _of_design(config, subject, images)
        yield from _of_volumes(config, subject)


def _of_design(
    config: Config, subject: str, images: dict[str, laion_tables.Image] | None
) -> Iterator[messages.Sentence]:
    """Problems of tables of trials and of the split."""
    trials: dict[Path, list[laion_tables.Trial]] = {}
    for table in map(Path, laion_fmri.session_files(config, subject, "trials")):
        rows, found = attempt(lambda table=table: laion_tables.read_trials(table))
        yield from found
        trials |= {table: rows} if rows else {}
    path = laion_fmri.split_file(config, subject)
    split, found = attempt(lambda: laion_tables.read_split(path, laion_fmri.settings_of(config).split.variant))
    yield from found
    if split is not None and images is not None and trials:
        _, found = attempt(lambda: laion_tables.split_stimuli(trials, images, split, path, subject))
        yield from found


def _of_volumes(config: Config, subject: str) -> Iterator[messages.Sentence]:
    """Problems of masks, and of the headers of betas beside them."""
    settings, folder = laion_fmri.settings_of(config), laion_fmri.roi_folder(config, subject)
    rois, (_, files) = laion_fmri.all_roi_files(config, subject), laion_fmri.mask_files(config, subject)
    mask, found = attempt(lambda: laion_volumes.mask_of(settings.mask, files, rois, folder))
    yield from found
    if mask is None:
        return
    _, found = attempt(lambda: laion_volumes.region_labels(settings.regions, rois, mask, folder))
    yield from found
    rules = trial_betas.Rules(check_affine=settings.check_affine)
    pairs = zip(*(laion_fmri.session_files(config, subject, name) for name in ("betas", "trials")), strict=True)
    for path, table in pairs:
        series, found = attempt(lambda path=path: nifti.open_series(path, rules.fix))
        yield from found
        rows, _ = attempt(lambda table=table: laion_tables.read_trials(table))
        problem = trial_betas.series_problem(series, len(rows), mask, rules) if series and rows else None
        if problem:
            yield problem
