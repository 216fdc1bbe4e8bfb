"""NSD-synthetic: a session in which the subjects of NSD saw 284 images unlike those of NSD: gratings, noise, words, ...

Source: Gifford et al. 2025, the NSD-synthetic dataset.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brain_diffuser.data import nsd, test_set
from brain_diffuser.data.adapter import Config, Source
from brain_diffuser.data.test_set import Kind

N_TRIALS, N_RUNS = 744, 8
N_COMMON, N_OWN = 220, 64
"""Stimuli that all subjects saw, and those made for each subject, which come after them."""
GRATINGS = range(105, 217)
"""Numbers, from 1, of gratings and spirals."""


FIRST_ID = test_set.FIRST_ID + 1000
"""Ids of stimuli are their numbers above this, so that no other test set has the same."""


def set_of(number: int) -> str:
    """The group that a stimulus, numbered from 1, belongs to."""
    if number > N_COMMON:
        return "colour"
    return "gratings" if number in GRATINGS else "others"


def runs(settings: Mapping[str, Any]) -> list[str]:
    """The run of each row of the betas: eight of as many trials."""
    return [str(trial * N_RUNS // N_TRIALS + 1) for trial in range(N_TRIALS)]


def betas_files(config: Config, subject: str, settings: Mapping[str, Any]) -> list[str]:
    """The two forms of the file of betas."""
    root, number = config.paths.nsd, nsd.subject_number(subject)
    folder = f"{root}/nsddata_betas/ppdata/subj{number:02d}/func1pt8mm"
    folder = f"{folder}/nsdsyntheticbetas_{test_set.version_of(config, settings)}"
    return [f"{folder}/betas_nsdsynthetic{ending}" for ending in (".hdf5", ".nii.gz")]


def design_file(config: Config) -> str:
    """The order of the trials, which all subjects share."""
    return f"{config.paths.nsd}/nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"


def stimulus_files(config: Config, subject: str) -> list[str]:
    """The images that all subjects saw, and those made for one."""
    folder = f"{config.paths.nsd}/nsddata_stimuli/stimuli/nsdsynthetic"
    own = f"nsdsynthetic_colorstimuli_subj{nsd.subject_number(subject):02d}.hdf5"
    return [f"{folder}/nsdsynthetic_stimuli.hdf5", f"{folder}/{own}"]


def inputs(config: Config, stage: str, subject: str, settings: Mapping[str, Any]) -> dict[str, Source]:
    """What the stages "table" and "stimuli" read."""
    key = f"datasets.{config.dataset}.nsd"
    if stage == "table":
        return {"design": Source(key, [design_file(config)])}
    return {"images": Source(key, stimulus_files(config, subject))}


def read_ordering(path: str | Path) -> list[int]:
    """The number, from 1, of the stimulus of each trial.

    Raises ValueError: not a MAT file, or masterordering is missing, of another length, or names no stimulus.
    """
    import numpy as np

    from brain_diffuser.data import matlab, placeholders

    placeholders.refuse(path, "NSD-synthetic's experimental design", "Download it.")
    try:
        design = matlab.read(path, ("masterordering",))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a MAT file ({error}). Download it again.") from error
    if "masterordering" not in design:
        raise ValueError(f"{path} lacks masterordering; is this nsdsynthetic_expdesign.mat?")
    ordering = design["masterordering"].ravel()
    if len(ordering) != N_TRIALS:
        raise ValueError(
            f"{path}: masterordering has {len(ordering)} trials; expected {N_TRIALS}. Is this "
            "nsdsynthetic_expdesign.mat?"
        )
    wrong = ordering[(ordering != np.rint(ordering)) | (ordering < 1) | (ordering > N_COMMON + N_OWN)]
    if len(wrong):
        raise ValueError(
            f"{path}: masterordering has {wrong[0]:g}; expected whole numbers from 1 to {N_COMMON + N_OWN}. Download "
            "it again."
        )
    return ordering.astype(int).tolist()


def write_table(inputs: Any, outputs: Any, settings: Mapping[str, Any]) -> None:
    """Write which rows of the betas show which stimulus, stimuli in the order of their numbers."""
    import numpy as np

    from brain_diffuser.data import stimulus_table

    ordering = np.array(read_ordering(inputs.design[0]))
    numbers = np.unique(ordering)
    trials = tuple(np.flatnonzero(ordering == number) for number in numbers)
    ids = (FIRST_ID + numbers).astype(np.int32)
    stimulus_table.write_chosen(outputs.stimuli, stimulus_table.Stimuli(ids, trials))
    rows = [
        (int(stimulus), set_of(number), f"synthetic {number:03d}")
        for stimulus, number in zip(ids, numbers.tolist(), strict=True)
    ]
    test_set.write_targets(outputs.targets, rows)


def write_stimuli(inputs: Any, outputs: Any, settings: Mapping[str, Any]) -> None:
    """Write the stimulus images in the order of the table, made square by `crop`."""
    from brain_diffuser.data import stimulus_table, target_images

    (table,) = [inputs.stimuli] if isinstance(inputs.stimuli, str) else inputs.stimuli
    ids = stimulus_table.read(table)["test"].nsd_id
    target_images.copy_bricks(
        inputs.images, (N_COMMON, N_OWN), ids - FIRST_ID - 1, ids, outputs.images, settings["crop"]
    )


def n_stimuli(config: Config, subject: str, settings: Mapping[str, Any]) -> int:
    """The number of stimuli; all 284 before the design is there."""
    path = design_file(config)
    return len(set(read_ordering(path))) if Path(path).is_file() else N_COMMON + N_OWN


def parts(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """One folder: every stimulus has an image."""
    return {"": {**settings, "words": False}}


KIND = Kind(
    keys={"betas": test_set.SAME, "zscore": "session", "crop": "square"},
    choices={
        "betas": (test_set.SAME, *test_set.BETAS),
        "zscore": ("session", "run", "none"),
        "crop": ("square", "pad"),
    },
    runs=runs,
    betas_files=betas_files,
    inputs=inputs,
    write_table=write_table,
    write_stimuli=write_stimuli,
    n_stimuli=n_stimuli,
    parts=parts,
    about="NSD-synthetic",
)
