"""BOLD5000, release 2.0: the plain layout, but for the trials table, which is made from lists of image names.

The betas are one NIfTI file for each session, {subject}_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz, of runs of
37 trials; {subject}_imgnames.txt has the image of each trial through all sessions. Not tried on the published files.

Source: Chang et al. 2019, Scientific Data 6, 49, and the release notes of version 2.0.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from brain_diffuser.data import custom
from brain_diffuser.data.adapter import Adapter, Config

TRIALS_PER_RUN = 37


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The largest possible number of stimuli: images shown once train, those shown more often test."""
    return {"train": 4803, "test": 113}[split]


def trials(names: str | Path, betas: Sequence[str], ids: Mapping[str, int]) -> list[tuple[str, ...]]:
    """A row of the trials table for each name, in order; images shown more than once are the test.

    Names are matched with image files by their last part, without folder.

    Raises ValueError: the list is no text in UTF-8, there are not as many names as trials in the betas, a name fits no
    image or two, or a file of betas has no session in its name.
    """
    from brain_diffuser.artifacts import text_files
    from brain_diffuser.data.custom_files import Trial, composed

    lines = text_files.lines(text_files.read(names))
    shown = [composed(PurePosixPath(line.strip()).name) for line in lines if line.strip()]
    by_name: dict[str, list[str]] = {}
    for stim_file in ids:
        by_name.setdefault(composed(PurePosixPath(stim_file).name), []).append(stim_file)
    unknown = [name for name in dict.fromkeys(shown) if len(by_name.get(name, ())) != 1]
    if unknown:
        raise ValueError(
            f"{names} names {unknown[0]}, which is the name of {len(by_name.get(unknown[0], ()))} images (and "
            f"{len(unknown) - 1} more names); expected 1, so complete the folder of images"
        )
    sessions = list(_sessions_and_runs(betas))
    if len(sessions) != len(shown):
        raise ValueError(
            f"{names} has {len(shown)} names, the betas {len(sessions)} trials; expected as many. Is a session missing?"
        )
    n_times, n_before, rows = Counter(shown), Counter(), []
    for name, (session, run) in zip(shown, sessions, strict=True):
        n_before[name] += 1
        split = "test" if n_times[name] > 1 else "train"
        rows.append(Trial(by_name[name][0], session, run, str(n_before[name]), split))
    return rows


def _sessions_and_runs(betas: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Session and run of every trial."""
    from brain_diffuser.data import custom_files

    for path in map(Path, betas):
        session = re.search(r"_ses-(\w+)\.nii", path.name)
        if not session:
            raise ValueError(f"{path} has no session in its name; expected one such as _ses-01.nii.gz")
        with custom_files.opening(path) as volumes:
            for trial in range(volumes.n_trials):
                yield session[1], str(1 + trial // TRIALS_PER_RUN)


ADAPTER = Adapter(
    inputs=custom.inputs,
    write_design=custom.write_design,
    write_betas=custom.write_betas,
    write_stimuli=custom.write_stimuli,
    write_captions=custom.write_captions,
    n_stimuli=n_stimuli,
    job_settings=custom.job_settings,
    section="custom",
    problems=custom.problems,
    files=custom.files,
    regions=custom.regions,
    tables=(custom.STIM_FILES,),
    written=("trials",),
    rules="bold5000",
)
