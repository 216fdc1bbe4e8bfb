"""LAION-fMRI: where its published files lie, and how they become the artifacts of a subject (docs/laion_fmri.md).

Not tried on the published files: paths and columns are those of the dataset's own package and documentation.
"""

import functools
import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import messages
from brain_diffuser.data import custom
from brain_diffuser.data.adapter import NONE, Adapter, Config, Source, fill_subject, only_file
from brain_diffuser.data.laion_settings import Settings

TERMS: messages.Sentence = "the data-use terms of LAION-fMRI forbid to pass its stimuli on"
SOURCES = "stimulus_sources.tsv"
"""`stimulus_table.SOURCES`, which this module does not import."""
N_PUBLISHED = {"subject": {"train": 5833, "test": 1593}, "shared": {"train": 1121, "test": 371}}
"""At most so many stimuli a split of a pool has."""


def settings_of(config: Config) -> Settings:
    """The settings of the chosen dataset."""
    return Settings.model_validate(config.paths.settings)


def label_of(subject: str) -> str:
    """The subject as the dataset writes it: sub-03 for sub03."""
    return f"sub-{subject.removeprefix('sub')}"


def metadata_file(config: Config) -> str:
    """The table of all images."""
    return f"{settings_of(config).root}/stimuli/task-images_metadata.csv"


def stimulus_file(config: Config) -> str:
    """The encoded images."""
    return f"{settings_of(config).root}/stimuli/task-images_stimuli.h5"


def split_file(config: Config, subject: str) -> str:
    """The published split."""
    split = settings_of(config).split
    pool = "shared" if split.pool == "shared" else label_of(subject)
    return f"{split.folder}/{pool}/{split.name}.json"


def betas_folder(config: Config, subject: str) -> str:
    """The folder of a subject's betas."""
    return f"{settings_of(config).root}/derivatives/glmsingle-tedana/{label_of(subject)}"


def roi_folder(config: Config, subject: str) -> str:
    """The folder of a subject's regions of interest."""
    return f"{settings_of(config).root}/derivatives/rois/{label_of(subject)}"


def session_numbers(config: Config, subject: str) -> list[int]:
    """The numbers of the sessions that are read.

    Raises FileNotFoundError: a session that is asked for, or one between others, has no folder.
    """
    asked = config.nsd.sessions
    return list(_numbers(betas_folder(config, subject), asked if isinstance(asked, str | int) else tuple(asked)))


def session_files(config: Config, subject: str, name: str) -> list[str]:
    """One file of each session that is read: "betas" or "trials"."""
    folder, label = betas_folder(config, subject), label_of(subject)
    ending = {
        "betas": "space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz",
        "trials": "desc-SingletrialBetas_trials.tsv",
    }[name]
    sessions = [f"ses-{number:02d}" for number in session_numbers(config, subject)]
    return [f"{folder}/{session}/func/{label}_{session}_task-images_{ending}" for session in sessions]


def spelling(label: str) -> str:
    """The label of a region as the dataset's client writes it, without hyphens; the bucket writes laion-general."""
    return label.replace("-", "")


def region_of(path: str) -> str:
    """The label in the name of a mask, without hyphens; empty if the name has none."""
    found = re.search(r"_label-([^/]+)_mask\.nii\.gz$", path)
    return spelling(found[1]) if found else ""


def all_roi_files(config: Config, subject: str) -> list[str]:
    """All masks of a subject on the grid of the betas, in all folders of categories and in both spellings."""
    pattern = f"{label_of(subject)}_space-T1w_res-1pt8_label-*_mask.nii.gz"
    return sorted(glob.glob(f"{glob.escape(roi_folder(config, subject))}/*/{pattern}"))


def roi_files(config: Config, subject: str) -> list[str]:
    """The masks of labels that the settings name."""
    settings = settings_of(config)
    labels = [] if isinstance(settings.mask, Mapping) else settings.mask
    used = {spelling(label) for label in (*labels, *(each for some in settings.regions.values() for each in some))}
    return [path for path in all_roi_files(config, subject) if region_of(path) in used]


def map_of_subject(config: Config, subject: str, description: str) -> str:
    """A volume of all sessions of a subject, such as the mean R2 map or a noise ceiling."""
    return f"{betas_folder(config, subject)}/{label_of(subject)}_task-images_space-T1w_{description}_statmap.nii.gz"


def mask_files(config: Config, subject: str) -> tuple[str, list[str]]:
    """The key that says which voxels are used, and the files that tell; none if they are regions'."""
    mask, where = settings_of(config).mask, f"datasets.{config.dataset}.settings.mask"
    if not isinstance(mask, Mapping):
        return where, []
    if "file" in mask:
        return f"{where}.file", [fill_subject(mask["file"], subject)]
    return f"{where}.r2mean_above", [map_of_subject(config, subject, "stat-rsquare_desc-R2mean")]


def ceiling_files(config: Config, subject: str) -> list[str]:
    """The published noise ceiling, if it is used."""
    kind = settings_of(config).noise_ceiling
    return [] if kind == "computed" else [map_of_subject(config, subject, f"desc-Noiseceiling{kind}")]


def inputs(config: Config, stage: str, subject: str) -> dict[str, Source]:
    """What a stage reads."""
    where = f"datasets.{config.dataset}.settings"
    metadata = Source(f"{where}.root", [metadata_file(config)])
    trials = Source(f"{where}.root", session_files(config, subject, "trials"))
    if stage == "design":
        split = Source(f"{where}.split", [split_file(config, subject)])
        return {"trials": trials, "metadata": metadata, "split": split}
    if stage == "betas":
        return {
            "trials": trials,
            "betas": Source(f"{where}.root", session_files(config, subject, "betas")),
            "rois": Source(f"{where}.root", roi_files(config, subject)),
            "mask": Source(*mask_files(config, subject)),
            "ceiling": Source(f"{where}.noise_ceiling", ceiling_files(config, subject)),
        }
    if stage == "stimuli":
        return {"metadata": metadata, "images": Source(f"{where}.root", [stimulus_file(config)])}
    captions = [] if config.paths.captions == NONE else [config.paths.captions]
    return {"metadata": metadata, "captions": Source(f"datasets.{config.dataset}.captions", captions)}


def job_settings(config: Config, stage: str, subject: str) -> dict[str, Any]:
    """The values on which a stage's artifacts depend; of the split its digest and what its file says of it."""
    settings = settings_of(config)
    if stage == "design":
        return {"subject": subject, "variant": settings.split.variant, **_split_facts(split_file(config, subject))}
    if stage == "betas":
        keys = ("mask", "regions", "nan_voxels", "zscore", "check_affine", "noise_ceiling")
        return {
            **{key: getattr(settings, key) for key in keys},
            "nsd.constant_voxels": config.nsd.constant_voxels,
            "roi_folder": roi_folder(config, subject),
        }
    keys = ("background", "image_size") if stage == "stimuli" else ("caption_source", "test_without_caption")
    return {key: getattr(settings, key) for key in keys}


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The number of stimuli of a split that have trials; the largest possible number while files are missing."""
    tables = session_files(config, subject, "trials")
    paths = [*tables, metadata_file(config), split_file(config, subject)]
    if not all(Path(path).is_file() for path in paths):
        return N_PUBLISHED[settings_of(config).split.pool][split]
    return _counts(tuple(tables), *paths[-2:], settings_of(config).split.variant, subject)[split]


def problems(config: Config) -> Iterator[messages.Sentence]:
    """What is wrong with the names of subjects."""
    others = [subject for subject in config.subjects if not re.fullmatch(r"sub\d+", subject)]
    if others:
        yield f"subjects has {others[0]}; expected names such as sub01 for LAION-fMRI's sub-01, so correct it"


def files(config: Config) -> Iterator[tuple[str, str]]:
    """(key, path) of the files that are there before any job."""
    where = f"datasets.{config.dataset}.settings"
    yield f"{where}.root", metadata_file(config)
    yield f"{where}.root", stimulus_file(config)
    for subject in config.subjects:
        yield f"{where}.root", betas_folder(config, subject)
        yield f"{where}.split", split_file(config, subject)


def validate(config: Config, record: Path) -> None:
    """Compare tables, headers and masks before any job. Raises ValueError: the dataset has problems, all are listed."""
    from brain_diffuser.data import laion_checks

    laion_checks.validate(config, record)


def regions(config: Config) -> dict[str, Any]:
    """The regions of the settings, which the file of voxels has as labels."""
    return {name: {"atlas": name, "labels": [1]} for name in settings_of(config).regions}


def write_design(inputs: Any, outputs: Any, settings: Mapping[str, Any]) -> None:
    """Write which trial showed which stimulus, what trains and tests by a published split, names and sources."""
    from brain_diffuser.data import laion_tables, stimulus_table

    path = only_file(inputs.split)
    images = laion_tables.read_metadata(only_file(inputs.metadata))
    split = laion_tables.read_split(path, settings["variant"])
    trials = {Path(table): laion_tables.read_trials(table) for table in inputs.trials}
    splits = laion_tables.split_stimuli(trials, images, split, path, settings["subject"])
    laion_tables.log_counts(splits, images, split, path)
    used = set(stimulus_table.all_ids(splits).tolist())
    names = {name: image.nsd_id for name, image in images.items() if image.nsd_id in used}
    names_table, sources_table = outputs.tables
    custom.write_ids(names_table, names)
    sources = {image.nsd_id: image.source for image in images.values() if image.nsd_id in used}
    stimulus_table.write_sources(sources_table, sources)
    stimulus_table.write(outputs.stimuli, splits)


def write_betas(inputs: Any, outputs: Any, settings: Mapping[str, Any]) -> None:
    """Write betas averaged over repeats, where their voxels lie, and which region they belong to."""
    from brain_diffuser.artifacts import hdf5
    from brain_diffuser.data import averages, laion_tables, laion_volumes, nifti, stimulus_table, trial_betas

    splits, rois, folder = stimulus_table.read(inputs.stimuli), list(inputs.rois), settings["roi_folder"]
    mask = laion_volumes.mask_of(settings["mask"], list(inputs.mask), rois, folder)
    sessions = [
        trial_betas.Session(Path(path), [trial.run for trial in laion_tables.read_trials(table)])
        for path, table in zip(inputs.betas, inputs.trials, strict=True)
    ]
    rules = trial_betas.Rules(1, settings["nan_voxels"], settings["zscore"], settings["check_affine"])
    found = trial_betas.average_betas(sessions, mask, splits, rules)
    betas, kept = averages.handle_constant_voxels(found.betas, found.mask, settings["nsd.constant_voxels"])
    ncsnr = found.ncsnr[kept.selected[found.mask.selected]]
    if inputs.ceiling:
        repeats = int(settings["noise_ceiling"].removesuffix("rep"))
        ceiling, aligned = only_file(inputs.ceiling), settings["check_affine"]
        ncsnr = laion_volumes.ceiling_as_ncsnr(ceiling, kept, repeats, check_affine=aligned)
    labels = laion_volumes.region_labels(settings["regions"], rois, kept, folder)
    nifti.write_rois(outputs.rois, labels, kept, ncsnr)
    for path, rows in ((outputs.train, betas["train"]), (outputs.test, betas["test"])):
        hdf5.save(path, *rows, axes=("voxels",), unit=found.unit)


def write_stimuli(inputs: Any, outputs: Any, settings: Mapping[str, Any], split: str, note_files: Any) -> None:
    """Write the images of a split."""
    from brain_diffuser.data import laion_images, laion_tables, stimulus_table

    images = laion_tables.read_metadata(only_file(inputs.metadata))
    laion_images.copy_stimuli(
        only_file(inputs.images),
        outputs.images,
        stimulus_table.read(inputs.stimuli)[split].nsd_id,
        {image.nsd_id: name for name, image in images.items()},
        n_images=len(images),
        background=settings["background"],
        size=settings["image_size"],
    )


def write_captions(inputs: Any, outputs: Any, settings: Mapping[str, Any]) -> None:
    """Write the captions of all stimuli; where there are none, one that says so and is the same for all."""
    from brain_diffuser.data import captions, custom_files, laion_tables, stimulus_table

    names = {image.nsd_id: name for name, image in laion_tables.read_metadata(only_file(inputs.metadata)).items()}
    splits, none = stimulus_table.read(inputs.stimuli), [custom_files.NO_CAPTION]
    if not inputs.captions:
        captions.write_captions(outputs.captions, {number: none for number in stimulus_table.all_ids(splits).tolist()})
        return
    path, source = only_file(inputs.captions), settings["caption_source"]
    texts = laion_tables.read_captions(path, source)
    shown = {split: [names[number] for number in stimuli.nsd_id.tolist()] for split, stimuli in splits.items()}
    laion_tables.check_captions(path, texts, shown, source, settings["test_without_caption"])
    ids = stimulus_table.all_ids(splits).tolist()
    captions.write_captions(outputs.captions, {number: texts.get(names[number], none) for number in ids})


@functools.cache
def _numbers(folder: str, asked: Any) -> tuple[int, ...]:
    """The sessions that are asked for, all of which have a folder."""
    there = {int(path.name[4:]) for path in Path(folder).glob("ses-*") if path.name[4:].isdecimal()}
    numbers = range(1, max(there, default=0) + 1) if asked == "all" else asked
    numbers = range(1, numbers + 1) if isinstance(numbers, int) else sorted(set(numbers))
    lacking = [number for number in numbers if number not in there]
    if lacking or not numbers:
        raise FileNotFoundError(
            f"{folder} lacks ses-{(lacking or [1])[0]:02d}; expected every session that is asked for. Download it, or "
            "set nsd.sessions."
        )
    return tuple(numbers)


@functools.cache
def _split_facts(path: str) -> dict[str, Any]:
    """The digest of a split, and what its file says of it: nothing as long as it is not there."""
    from brain_diffuser.artifacts import text_files
    from brain_diffuser.data import laion_tables

    found = text_files.read_json(path) if Path(path).is_file() else {}
    said = {key: found[key] for key in laion_tables.ABOUT if key in found} if isinstance(found, dict) else {}
    return {"split_sha256": laion_tables.sha256(path), "split": said}


@functools.cache
def _counts(tables: tuple[str, ...], metadata: str, split: str, variant: str, subject: str) -> dict[str, int]:
    """The number of stimuli of each split."""
    from brain_diffuser.data import laion_tables

    trials = {Path(table): laion_tables.read_trials(table) for table in tables}
    found = laion_tables.read_split(split, variant)
    images = laion_tables.read_metadata(metadata)
    splits = laion_tables.split_stimuli(trials, images, found, split, subject)
    return {name: len(stimuli.nsd_id) for name, stimuli in splits.items()}


ADAPTER = Adapter(
    inputs=inputs,
    write_design=write_design,
    write_betas=write_betas,
    write_stimuli=write_stimuli,
    write_captions=write_captions,
    n_stimuli=n_stimuli,
    job_settings=job_settings,
    settings_model=Settings,
    problems=problems,
    files=files,
    validate=validate,
    regions=regions,
    sessions=session_numbers,
    tables=(custom.STIM_FILES, SOURCES),
    about="LAION-fMRI",
    stimuli_terms=TERMS,
)
