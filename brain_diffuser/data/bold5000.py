"""BOLD5000, release 2.0: the trials table of a subject in the plain layout, from its list of image names.

Source: Chang et al. 2019, Scientific Data 6, 49, and the release notes of version 2.0: betas in one NIfTI file for each
session, {subject}_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz, runs of 37 trials, {subject}_imgnames.txt with the
image of each trial through all sessions. Not tried on the published files.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import custom

TRIALS_PER_RUN = 37


def trials(names: str | Path, betas: Sequence[str], ids: Mapping[str, int]) -> list[custom.Trial]:
    """A trial for each name, in order; images shown more than once are the test.

    Names are matched with the files of images by their last part, without folder.

    Raises ValueError: as many names as trials in the betas are needed; a name that fits no image, or two; a file of
    betas without a session.
    """
    shown = [PurePosixPath(line.strip()).name for line in _lines(names)]
    by_name: dict[str, list[str]] = {}
    for stim_file in ids:
        by_name.setdefault(PurePosixPath(stim_file).name, []).append(stim_file)
    unknown = [name for name in dict.fromkeys(shown) if len(by_name.get(name, ())) != 1]
    if unknown:
        found = len(by_name.get(unknown[0], ()))
        raise ValueError(
            f"{names} names {unknown[0]}, which is the name of {found} images (and {len(unknown) - 1} more "
            "names); expected 1, so complete the folder of images"
        )
    sessions = list(_sessions(betas))
    if len(sessions) != len(shown):
        raise ValueError(
            f"{names} has {len(shown)} names, the betas {len(sessions)} trials; expected as many. Is a session missing?"
        )
    times, seen, rows = Counter(shown), Counter(), []
    for name, (session, run) in zip(shown, sessions, strict=True):
        seen[name] += 1
        split = "test" if times[name] > 1 else "train"
        rows.append(custom.Trial(by_name[name][0], session, run, str(seen[name]), split))
    return rows


def write_trials(path: str | Path, rows: Sequence[custom.Trial]) -> None:
    """The trials table."""
    with hdf5.atomic(path) as partial:
        partial.write_text("\n".join("\t".join(row) for row in (custom.TRIALS, *rows)) + "\n", encoding="utf-8")


def _lines(path: str | Path) -> list[str]:
    return [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def _sessions(betas: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Session and run of every trial."""
    for path in map(Path, betas):
        session = re.search(r"_ses-(\w+)\.nii", path.name)
        if not session:
            raise ValueError(f"{path} has no session in its name; expected one such as _ses-01.nii.gz")
        with custom.opening(path) as volumes:
            for trial in range(volumes.n_trials):
                yield session[1], str(1 + trial // TRIALS_PER_RUN)
