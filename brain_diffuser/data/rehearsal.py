"""The inputs of a rehearsal: files in the layout of NSD and random networks, which rules/data/rehearsal.smk writes."""

from collections.abc import Iterator
from typing import Any

from brain_diffuser.artifacts import messages
from brain_diffuser.data import nsd
from brain_diffuser.data.adapter import Adapter, Config, Source

DISCLAIMER = "random betas and random networks of the published sizes; there is nothing to see in these images"
N_TRIALS = 750
SIZES = ("published", "small")
"""Of networks and volumes; those of `small` take seconds, to try the rehearsal itself."""


def session_files(config: Config, subject: str) -> list[str]:
    """The betas of the one session."""
    return [f"{nsd.betas_folder(config, f'{nsd.subject_number(subject):02d}')}/betas_session01.nii.gz"]


def inputs(config: Config, stage: str, subject: str) -> dict[str, Source]:
    """What a stage reads."""
    if stage != "betas":
        return nsd.inputs(config, stage, subject)
    return {
        "betas": Source("nsd.betas", session_files(config, subject)),
        "mask": Source("nsd.mask", nsd.roi_files(config, subject, [config.nsd.mask])),
        "rois": Source("nsd.rois", nsd.roi_files(config, subject, config.nsd.rois)),
    }


def job_settings(config: Config, stage: str, subject: str) -> dict[str, Any]:
    """The values of the configuration on which a stage's artifacts depend."""
    if stage != "design":
        return nsd.job_settings(config, stage, subject)
    splits = ["test"] if subject.startswith(nsd.SHARED) else ["train", "test"]
    return {"sessions": [1], "splits": splits, "subject": nsd.subject_number(subject)}


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The number of stimuli of a split."""
    return config.paths.settings[f"n_{split}"]


def problems(config: Config) -> Iterator[messages.Sentence]:
    """What is wrong with `settings`: n_train and n_test stimuli, a size of SIZES, a seed."""
    where, settings = f"datasets.{config.dataset}.settings", config.paths.settings or {}
    expected = {"n_train", "n_test", "size", "seed"}
    if set(settings) != expected:
        yield f"{where} has {', '.join(map(str, settings)) or 'nothing'}; expected {', '.join(sorted(expected))}"
        return
    for key in ("n_train", "n_test", "seed"):
        if type(settings[key]) is not int or settings[key] < (0 if key == "seed" else 2):
            yield f"{where}.{key} is {settings[key]}; expected a whole number from {0 if key == 'seed' else 2}"
            return
    if N_TRIALS % (settings["n_train"] + settings["n_test"]):
        yield (
            f"{where}.n_train + n_test is {settings['n_train'] + settings['n_test']}; expected a number that divides "
            f"the {N_TRIALS} trials of a session, because it shows all stimuli equally often; write 26 and 4"
        )
    if settings["size"] not in SIZES:
        yield f"{where}.size is {settings['size']}; expected {' or '.join(SIZES)}"


def shared_folder(config: Config, subject: str) -> str:
    """The folder of the test stimuli, as all subjects of NSD share it."""
    return f"{nsd.SHARED}1-1"


def sessions(config: Config, subject: str) -> list[int]:
    """The one session."""
    return [1]


ADAPTER = Adapter(
    inputs=inputs,
    write_design=nsd.write_design,
    write_betas=nsd.write_betas,
    write_stimuli=nsd.write_stimuli,
    write_captions=nsd.write_captions,
    n_stimuli=n_stimuli,
    job_settings=job_settings,
    section="nsd",
    problems=problems,
    regions=nsd.regions,
    shared=shared_folder,
    sessions=sessions,
    prefix="nsd",
    betas_mem_mb=3000,
    written=("nsd", "captions", "vdvae", "versatile_diffusion", "clip"),
    rules="rehearsal",
)
