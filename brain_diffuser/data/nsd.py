"""The Natural Scenes Dataset: where its published files lie, and how they become the artifacts of a subject."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import messages
from brain_diffuser.data.adapter import Adapter, Config, Source, only_file

SUBJECTS = tuple(f"sub0{number}" for number in range(1, 9))

DEMO_STIMULI_PER_SESSION = 250
"""Stimuli of a session of the demo: 750 trials show each stimulus three times."""

SHARED = "shared/sessions_"
"""What the names of folders begin with that hold what subjects share."""


def subject_number(subject: str) -> int:
    """NSD's number of a subject: 3 for sub03. What subjects share is in the list of each of them, so it has 1."""
    return 1 if subject.startswith(SHARED) else int(subject.removeprefix("sub"))


def design_file(config: Config) -> str:
    """The experimental design of all subjects."""
    return f"{_root(config)}/nsddata/experiments/nsd/nsd_expdesign.mat"


def stimulus_file(config: Config) -> str:
    """The images of all subjects."""
    return f"{_root(config)}/nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"


def roi_file(config: Config, number: str, atlas: str) -> str:
    """The volume of an atlas of a subject, whose number has two digits."""
    return f"{_root(config)}/nsddata/ppdata/subj{number}/func1pt8mm/roi/{atlas}.nii.gz"


def betas_folder(config: Config, number: str) -> str:
    """The folder of the betas of a subject, whose number has two digits."""
    return f"{_root(config)}/nsddata_betas/ppdata/subj{number}/func1pt8mm/{config.nsd.betas}"


def roi_files(config: Config, subject: str, atlases: Sequence[str]) -> list[str]:
    """The volumes of some atlases of a subject."""
    return [roi_file(config, f"{subject_number(subject):02d}", atlas) for atlas in atlases]


def session_files(config: Config, subject: str) -> list[str]:
    """The betas of the sessions that are read: those that exist, or those that will be fetched or simulated.

    Raises FileNotFoundError: a session is missing. ValueError: `nsd.sessions` names none, or more than the demo has.
    """
    folder = betas_folder(config, f"{subject_number(subject):02d}")
    sessions = config.nsd.sessions if isinstance(config.nsd.sessions, str | int) else tuple(config.nsd.sessions)
    if config.paths.simulated:
        return _chosen_demo_files(demo_session_files(config, folder), sessions)
    number = subject_number(subject) if config.fetch.nsd else 0
    return _existing_files(folder, sessions, config.nsd.format, number)


def demo_session_files(config: Config, folder: str) -> list[str]:
    """The files of betas that the demo writes into a folder."""
    ending = {"nifti": "nii.gz", "hdf5": "hdf5"}[config.demo.format]
    n_sessions = (config.demo.n_train + config.demo.n_test) // DEMO_STIMULI_PER_SESSION
    return [f"{folder}/betas_session{session:02d}.{ending}" for session in range(1, n_sessions + 1)]


def session_numbers(config: Config, subject: str) -> list[int]:
    """The numbers of the sessions that are read, from 1, of a subject or of a folder that subjects share."""
    if subject.startswith(SHARED):
        name = subject.removeprefix(SHARED)
        first, _, last = name.partition("-")
        return list(range(int(first), int(last) + 1)) if last else [int(number) for number in name.split("_")]
    from brain_diffuser.data import nsd_sessions

    return [nsd_sessions.number(path) for path in session_files(config, subject)]


def shared_folder(config: Config, subject: str) -> str:
    """The folder of what a subject shares with all who have its sessions: the same test stimuli in the same order."""
    numbers = session_numbers(config, subject)
    is_first = numbers == list(range(1, len(numbers) + 1))
    return f"{SHARED}1-{len(numbers)}" if is_first else SHARED + "_".join(map(str, numbers))


def published_files(config: Config) -> list[str]:
    """All files of NSD that the configured subjects need."""
    betas = [path for subject in config.subjects for path in session_files(config, subject)]
    atlases = [config.nsd.mask, *config.nsd.rois]
    rois = [path for subject in config.subjects for path in roi_files(config, subject, atlases)]
    return [design_file(config), stimulus_file(config), *betas, *rois]


def inputs(config: Config, stage: str, subject: str) -> dict[str, Source]:
    """What a stage reads of NSD's files."""
    where = f"datasets.{config.dataset}"
    if stage == "design":
        return {"design": Source(f"{where}.nsd", [design_file(config)])}
    if stage == "betas":
        return {
            "betas": Source("nsd.betas", session_files(config, subject)),
            "mask": Source("nsd.mask", roi_files(config, subject, [config.nsd.mask])),
            "rois": Source("nsd.rois", roi_files(config, subject, config.nsd.rois)),
        }
    if stage == "stimuli":
        return {"stimulus_file": Source(f"{where}.nsd", [stimulus_file(config)])}
    return {"captions": Source(f"{where}.captions", [config.paths.captions])}


def job_settings(config: Config, stage: str, subject: str) -> dict[str, Any]:
    """The values of the configuration on which a stage's artifacts depend."""
    if stage == "design":
        return {
            "sessions": session_numbers(config, subject),
            "splits": ["test"] if subject.startswith(SHARED) else ["train", "test"],
            "subject": subject_number(subject),
        }
    keys = {"nsd.constant_voxels": config.nsd.constant_voxels, "nsd.unit": config.nsd.unit}
    return keys if stage == "betas" else {}


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The number of stimuli of a split; before the design is there, the number in all published sessions."""
    from brain_diffuser.data import nsd_design, nsd_sessions

    numbers = session_numbers(config, subject)
    if Path(design_file(config)).is_file():
        return nsd_design.count_stimuli(design_file(config), subject_number(subject), tuple(numbers))[split]
    published = nsd_sessions.PUBLISHED_STIMULI[split][subject_number(subject) - 1]
    return min(published, nsd_sessions.N_TRIALS * len(numbers))


def problems(config: Config) -> Iterator[messages.Sentence]:
    """What is wrong with the names of subjects."""
    others = [subject for subject in config.subjects if subject not in SUBJECTS]
    if others:
        yield f"subjects has {others[0]}; expected NSD's, sub01 to sub08, so correct the name"


def regions(config: Config) -> dict[str, Any]:
    """The regions of `roi.regions`, made of the labels of NSD's atlases."""
    return config.roi.model_dump(exclude_none=True)["regions"]


def write_design(inputs: Any, outputs: Any, settings: Any) -> None:
    """Write which trial showed which stimulus, and which stimuli train and test."""
    from brain_diffuser.data import nsd_design, stimulus_table

    path = only_file(inputs.design)
    splits = nsd_design.split_stimuli(*nsd_design.read_design(path, settings["subject"], settings["sessions"]))
    stimulus_table.write(outputs.stimuli, {split: splits[split] for split in settings["splits"]})


def write_betas(inputs: Any, outputs: Any, settings: Any) -> None:
    """Write betas averaged over repeats, and the labels of atlases for their voxels."""
    from brain_diffuser.data import averages, nifti, nsd_sessions, stimulus_table

    splits = stimulus_table.read(inputs.stimuli)
    mask = nifti.read_mask(only_file(inputs.mask))
    betas, ncsnr, unit = nsd_sessions.average_betas(inputs.betas, mask, splits, settings["nsd.unit"])
    averages.write(outputs, betas, ncsnr, mask, settings["nsd.constant_voxels"], unit, list(inputs.rois))


def write_stimuli(inputs: Any, outputs: Any, settings: Any, split: str, note_files: Any) -> None:
    """Write the images of a split."""
    from brain_diffuser.data import nsd_design, stimulus_table

    path = only_file(inputs.stimulus_file)
    nsd_design.copy_stimuli(path, outputs.images, stimulus_table.read(inputs.stimuli)[split].nsd_id)


def write_captions(inputs: Any, outputs: Any, settings: Any) -> None:
    """Write the captions of a subject's stimuli."""
    from brain_diffuser.data import captions, stimulus_table

    path = only_file(inputs.captions)
    nsd_id = stimulus_table.all_ids(stimulus_table.read(inputs.stimuli))
    captions.write_captions(outputs.captions, captions.read_captions(path, nsd_id))


def _root(config: Config) -> str:
    return Path(config.paths.nsd).as_posix()


@functools.cache
def _existing_files(folder: str, sessions: Any, file_format: str, fetched_subject: int) -> list[str]:
    """The files of sessions that are in a folder, or will be fetched for a subject, whose number is 0 for none."""
    from brain_diffuser.data import nsd_sessions

    published = nsd_sessions.PUBLISHED[fetched_subject - 1] if fetched_subject else 0
    return [str(path) for path in nsd_sessions.find(folder, sessions, file_format, published)]


def _chosen_demo_files(files: list[str], sessions: Any) -> list[str]:
    """The sessions of the demo that are asked for."""
    numbers = range(1, len(files) + 1) if sessions == "all" else sessions
    numbers = range(1, numbers + 1) if isinstance(numbers, int) else numbers
    if max(numbers) > len(files):
        raise ValueError(
            f"config.yaml: nsd.sessions is {sessions if isinstance(sessions, int) else list(sessions)}, the demo has "
            f"{len(files)}; write all or a smaller number"
        )
    return [files[number - 1] for number in sorted(set(numbers))]


ADAPTER = Adapter(
    inputs=inputs,
    write_design=write_design,
    write_betas=write_betas,
    write_stimuli=write_stimuli,
    write_captions=write_captions,
    n_stimuli=n_stimuli,
    job_settings=job_settings,
    section="nsd",
    problems=problems,
    regions=regions,
    shared=shared_folder,
    sessions=session_numbers,
    prefix="nsd",
    betas_mem_mb=3000,
)
