"""Validation of a dataset in the plain layout: one sentence for every problem, before anything is computed."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath

from brain_diffuser.artifacts import hdf5, messages
from brain_diffuser.data import betas_checks, custom_files, image_checks, stimulus_table
from brain_diffuser.data.betas_checks import DEFAULT, Checks
from brain_diffuser.data.wording import attempt, listed, printable

logger = logging.getLogger(__name__)

VERSION = 2  # of the checks; a dataset that passed an earlier version is validated again


def problems(
    subjects: Sequence[custom_files.SubjectFiles],
    stimuli: str | Path,
    captions: str | Path | None,
    checks: Checks = DEFAULT,
) -> Iterator[messages.Sentence]:
    """A sentence for every problem of a dataset; betas and images are read from end to end.

    Parameters
    ----------
    subjects
        The files of every subject.
    stimuli
        The folder of images.
    captions
        The table of captions; None if there is none.
    checks
        What is asked of betas.
    """
    ids = custom_files.stimulus_ids(stimuli)
    if not ids:
        yield f"{stimuli} has no image; expected files that end in {', '.join(custom_files.IMAGES)}"
    others = custom_files.other_files(stimuli)
    if others:
        logger.warning("%s: %d files are no stimuli and get no id: %s", stimuli, len(others), listed(others))
    images = {custom_files.composed(name): name for name in ids}
    if len(images) < len(ids):
        yield f"{stimuli} has {listed(_alike(ids))}, whose names are the same text in two forms; rename one of them"
    used: dict[str, None] = {}
    splits: dict[tuple[str, str], set[str]] = {}
    for files in subjects:
        trials, found = attempt(lambda files=files: custom_files.read_trials(files.trials))
        yield from found
        if trials is not None:
            yield from _of_trials(files.trials, trials, Path(stimuli), images)
            used |= dict.fromkeys(trial.stim_file for trial in trials if trial.split in custom_files.SPLITS)
            for trial in trials:
                splits.setdefault((files.subject, trial.split), set()).add(trial.stim_file)
        mask, found = attempt(lambda files=files: betas_checks.read_mask(files))
        yield from found
        if mask is not None:
            yield from betas_checks.of_betas(files, trials, mask, checks)
            for name, path in files.rois.items():
                yield from betas_checks.of_roi(name, path, mask, files.subject, checks)
    content, found = image_checks.pixels(Path(stimuli), {name: images[name] for name in used if name in images})
    yield from found
    yield from image_checks.of_copies(Path(stimuli), content, splits)
    if captions is not None:
        yield from _of_captions(captions, list(used))


def validate(
    record: Path,
    subjects: Sequence[custom_files.SubjectFiles],
    stimuli: str | Path,
    captions: str | Path | None,
    checks: Checks = DEFAULT,
) -> None:
    """Raise one error with all problems of a dataset, if it has any.

    Parameters
    ----------
    record
        A file that remembers a sound dataset by the names, sizes and dates of its files; it is not read again then.
    subjects, stimuli, captions, checks
        As in `problems`.

    Raises
    ------
    ValueError
        There are problems.
    """
    of_subjects = [(files.trials, *files.betas, files.mask, *files.rois.values()) for files in subjects]
    files = [path for paths in of_subjects for path in paths if path]
    files += shared_files(stimuli, captions)
    validate_once(record, (VERSION, checks), files, lambda: problems(subjects, stimuli, captions, checks))


def shared_files(stimuli: str | Path, captions: str | Path | None) -> list[Path]:
    """The images and captions of all subjects."""
    images = [Path(stimuli, name) for name in custom_files.stimulus_ids(stimuli)]
    return images + ([Path(captions)] if captions else [])


def validate_once(
    record: Path,
    facts: tuple[object, ...],
    files: Sequence[Path],
    find_problems: Callable[[], Iterable[messages.Sentence]],
) -> None:
    """Raise one error with all problems of a dataset, unless it was found sound before and has not changed.

    Parameters
    ----------
    record
        A file that remembers a sound dataset.
    facts
        What the problems depend on beside the files, such as the version of the checks.
    files
        The files, of which names, sizes and dates are compared.
    find_problems
        Gives a sentence for every problem.

    Raises
    ------
    ValueError
        There are problems.
    """
    states = [_state(path) for path in files]
    key = hashlib.sha256(repr((*facts, states)).encode()).hexdigest()
    if record.is_file() and record.read_text(encoding="utf-8") == key:
        return
    logger.warning("validating the dataset: %d files", len(files))
    raise_if_any(list(find_problems()))
    with hdf5.atomic(record) as partial:
        partial.write_text(key, encoding="utf-8")


def _state(path: Path) -> tuple[Path, int, int]:
    """The path, size and date of a file; `problems` has the sentence about one that is not there, if it is used."""
    try:
        status = path.stat()
    except OSError:
        return path, -1, -1
    return path, status.st_size, status.st_mtime_ns


def raise_if_any(sentences: Sequence[str]) -> None:
    """Raise a ValueError that lists all problems, if there are any."""
    if sentences:
        listed = "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1))
        raise ValueError(
            f"The dataset has {len(sentences)} problem{'s' * (len(sentences) > 1)}; nothing was computed.\n{listed}"
        )


Lines = Sequence[tuple[int, custom_files.Trial]]
"""Rows of a trials table with their line numbers."""


def _of_trials(
    path: Path, trials: Sequence[custom_files.Trial], folder: Path, images: Mapping[str, str]
) -> Iterator[messages.Sentence]:
    """Problems of a trials table: cells, stimuli, repeats, sessions and splits.

    Parameters
    ----------
    path
        The table.
    trials
        Its rows.
    folder
        The folder of images.
    images : {stim_file: path below the folder}
        All images there.
    """
    if not trials:
        yield f"{path} has no trial below its first line; expected one for each row of the betas"
        return
    shown = [(line, trial) for line, trial in enumerate(trials, 2) if trial.split != custom_files.UNUSED]
    yield from _of_cells(path, shown)
    yield from _of_stimuli(path, shown, folder, images)
    yield from _of_repeats(path, shown)
    sessions = Counter(session for session, _ in custom_files.sessions(trials))
    scattered = [session for session, n in sessions.items() if n > 1]
    if scattered:
        yield f"{path}: the rows of session {listed(scattered)} are not contiguous; sort the table and the betas by it"
    yield from _of_splits(path, shown)


def _of_cells(path: Path, shown: Lines) -> Iterator[messages.Sentence]:
    for name, accepts, expected in (
        ("session", _is_label, "letters and digits"),
        ("run", _is_label, "letters and digits"),
        ("repeat", lambda cell: cell.isdecimal() and int(cell) > 0, "a whole number from 1"),
        ("split", custom_files.SPLITS.__contains__, "train, test or n/a"),
    ):
        wrong = {line: cell for line, trial in shown if not accepts(cell := getattr(trial, name))}
        if wrong:
            yield f"{path} line {listed([*wrong])}: {name} is {next(iter(wrong.values()))!r}; expected {expected}"


def _of_stimuli(path: Path, shown: Lines, folder: Path, images: Mapping[str, str]) -> Iterator[messages.Sentence]:
    names = {line: trial.stim_file for line, trial in shown}
    outside = [line for line, name in names.items() if _is_outside(name)]
    if outside:
        yield (
            f"{path} line {listed(outside)}: stim_file is {names[outside[0]]!r}; expected a path below the folder of "
            "images, without .., drive or leading slash"
        )
    unknown = [line for line, name in names.items() if not _is_outside(name) and name not in images]
    if unknown and images:
        name, lines = names[unknown[0]], listed(unknown)
        yield f"{path} line {lines}: stim_file {name!r} is not in the folder of images; {_hint(folder, name, images)}"


def _hint(folder: Path, name: str, images: Mapping[str, str]) -> messages.Sentence:
    """What to do about the name of an image that is not there."""
    if (folder / name).is_dir():
        return "it is a folder; expected an image"
    linked = [parent for parent in PurePosixPath(name).parents if (folder / parent).is_symlink()]
    if linked and str(linked[-1]) != ".":
        return f"{linked[-1]} is a link to a folder, which is not followed; put the folder itself there"
    if PurePosixPath(name).suffix.lower() not in custom_files.IMAGES:
        return f"images end in {', '.join(custom_files.IMAGES)}, so save it as one of them"
    if not custom_files.is_stimulus(name):
        return "hidden files and what systems add are no stimuli, so rename it"
    similar = get_close_matches(name, images, n=1)
    return f"did you mean {printable(images[similar[0]])}?" if similar else "put it there or correct the name"


def _alike(ids: Mapping[str, int]) -> list[str]:
    """Names that differ only in how letters and their accents are stored."""
    n_times = Counter(map(custom_files.composed, ids))
    return [printable(name) for name in ids if n_times[custom_files.composed(name)] > 1]


def _of_repeats(path: Path, shown: Lines) -> Iterator[messages.Sentence]:
    n_times = Counter((trial.stim_file, trial.repeat) for _, trial in shown)
    doubled = {line: trial for line, trial in shown if n_times[trial.stim_file, trial.repeat] > 1}
    if doubled:
        trial = next(iter(doubled.values()))
        yield (
            f"{path} line {listed([*doubled])}: repeat {trial.repeat} of {trial.stim_file} comes "
            f"{n_times[trial.stim_file, trial.repeat]} times; expected once, so count its repeats 1, 2, 3"
        )


def _of_splits(path: Path, shown: Lines) -> Iterator[messages.Sentence]:
    stimuli = {split: {trial.stim_file for _, trial in shown if trial.split == split} for split in custom_files.SPLITS}
    leaking = sorted(stimuli["train"] & stimuli["test"])
    if leaking:
        yield (
            f"{path}: {listed(leaking)} is in train and in test; expected one of them, because a stimulus that trains "
            "cannot test"
        )
    for split, least in stimulus_table.LEAST.items():
        if len(stimuli[split]) < least:
            yield f"{path} has {stimulus_table.too_few(split, len(stimuli[split]))}; name more of them {split}"


def _is_label(cell: str) -> bool:
    """Whether a cell is a label as BIDS has it."""
    return cell.isascii() and cell.isalnum()


def _is_outside(name: str) -> bool:
    """Whether a path is empty, absolute, or leaves its folder."""
    return (
        not name
        or "\\" in name
        or PurePosixPath(name).is_absolute()
        or bool(PureWindowsPath(name).drive)
        or (".." in PurePosixPath(name).parts)
    )


def _of_captions(path: str | Path, used: Sequence[str]) -> Iterator[messages.Sentence]:
    """Stimuli without a caption."""
    captions, found = attempt(lambda: custom_files.read_captions(path))
    yield from found
    if captions is None:
        return
    without = [name for name in used if name not in captions]
    if without:
        yield f"{path} has no caption for {listed(without)}; add one or more, or set captions: none"
    empty = [name for name in used if name in captions and not captions[name]]
    if empty:
        yield f"{path}: every caption of {listed(empty)} is empty; write one, or set captions: none"


# What other forms share with the plain layout. A function's own name is part of the keys of jobs, so these keep theirs.
of_table = _of_trials
of_cells = _of_cells
of_stimuli = _of_stimuli
of_splits = _of_splits
of_captions = _of_captions
alike = _alike
