"""The demo dataset: simulated files in the layout of NSD, which rules/data/demo.smk writes first (docs/demo.md)."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from brain_diffuser.data import nsd
from brain_diffuser.data.adapter import Adapter, Config, Source


def file_of(path: str, number: str) -> str:
    """A file of what one subject was shown, whose number has two digits: NSD's name for 01, with the number for others.

    NSD has one file for all subjects. Here every subject has its own, so that another one changes no file of the first.
    """
    name = PurePosixPath(path)
    return path if number == "01" else str(name.with_name(f"{name.stem}_subj{number}{name.suffix}"))


def inputs(config: Config, stage: str, subject: str) -> Mapping[str, Source]:
    """What a stage reads: of design, stimuli and captions the subject's own; what subjects share, of the first one."""
    found = nsd.inputs(config, stage, subject)
    if stage == "betas":
        return found
    number = f"{nsd.subject_number(config.subjects[0] if subject.startswith(nsd.SHARED) else subject):02d}"
    return {name: each._replace(paths=[file_of(path, number) for path in each.paths]) for name, each in found.items()}


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The number of stimuli of a split in all sessions of the demo, or as many as the chosen sessions have trials."""
    from brain_diffuser.data import nsd_sessions

    simulated = {"train": config.demo.n_train, "test": config.demo.n_test}[split]
    return min(simulated, nsd_sessions.N_TRIALS * len(nsd.session_numbers(config, subject)))


ADAPTER = Adapter(
    inputs=inputs,
    write_design=nsd.write_design,
    write_betas=nsd.write_betas,
    write_stimuli=nsd.write_stimuli,
    write_captions=nsd.write_captions,
    n_stimuli=n_stimuli,
    job_settings=nsd.job_settings,
    section="nsd",
    problems=nsd.problems,
    regions=nsd.regions,
    shared=nsd.shared_folder,
    prefix="nsd",
    betas_mem_mb=3000,
    written=("nsd", "captions"),
    rules="demo",
)
