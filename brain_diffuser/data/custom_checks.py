"""Validation of a dataset in the plain layout: one sentence for every problem, before anything is computed."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

from brain_diffuser.artifacts import hdf5, system_faults
from brain_diffuser.data import custom_files, hdf5_storage, nifti, stimulus_table, units
from brain_diffuser.data.adapter import NONE

logger = logging.getLogger(__name__)

Found = TypeVar("Found")

VERSION = 2  # of the checks; a dataset that passed an earlier version is validated again
SHOWN = 5  # places that a sentence names at most
MODES = ("RGB", "L")
PNG_DEPTH = 24  # byte of a PNG file that has its bits per channel
TIFF_DEPTH = 258  # tag of a TIFF file with the bits of each channel


class Checks(NamedTuple):
    """What is asked of betas.

    Parameters
    ----------
    constant_voxels
        "error" makes a voxel a problem that is constant, or NaN in a session; "drop" does not.
    zscore
        "session" if betas are z-scored within sessions, whose units may then differ, or "none".
    check_affine
        Whether the headers of betas and masks have to agree on where voxels lie.
    """

    constant_voxels: str = "error"
    zscore: str = NONE
    check_affine: bool = True


DEFAULT = Checks()


def problems(
    subjects: Sequence[custom_files.SubjectFiles],
    stimuli: str | Path,
    captions: str | Path | None,
    checks: Checks = DEFAULT,
) -> Iterator[str]:
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
        logger.warning("%s: %d files are no stimuli and get no id: %s", stimuli, len(others), _listed(others))
    images = {custom_files.composed(name): name for name in ids}
    if len(images) < len(ids):
        yield f"{stimuli} has {_listed(_alike(ids))}, whose names are the same text in two forms; rename one of them"
    used: dict[str, None] = {}
    splits: dict[tuple[str, str], set[str]] = {}
    for files in subjects:
        trials, found = _attempt(lambda files=files: custom_files.read_trials(files.trials))
        yield from found
        if trials is not None:
            yield from _of_trials(files.trials, trials, Path(stimuli), images)
            used |= dict.fromkeys(trial.stim_file for trial in trials if trial.split in custom_files.SPLITS)
            for trial in trials:
                splits.setdefault((files.subject, trial.split), set()).add(trial.stim_file)
        mask, found = _attempt(lambda files=files: _mask(files))
        yield from found
        if mask is not None:
            yield from _of_betas(files, trials, mask, checks)
            for name, path in files.rois.items():
                yield from _of_roi(name, path, mask, files.subject, checks)
    content, found = _pixels(Path(stimuli), {name: images[name] for name in used if name in images})
    yield from found
    yield from _of_copies(Path(stimuli), content, splits)
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
    files += [Path(stimuli, name) for name in custom_files.stimulus_ids(stimuli)] + (
        [Path(captions)] if captions else []
    )
    states = [_state(path) for path in files]
    key = hashlib.sha256(repr((VERSION, checks, states)).encode()).hexdigest()
    if record.is_file() and record.read_text(encoding="utf-8") == key:
        return
    logger.warning("validating the dataset: %d files", len(files))
    raise_if_any(list(problems(subjects, stimuli, captions, checks)))
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


def _attempt(read: Callable[[], Found]) -> tuple[Found | None, list[str]]:
    """What was read, or the sentence that says why it cannot be read."""
    try:
        return read(), []
    except (ValueError, OSError) as error:
        return None, [system_faults.message(error)]


def _listed(places: Sequence[object]) -> str:
    """The first places as a text: 3, 7, 9 (and 12 more)."""
    more = f" (and {len(places) - SHOWN} more)" if len(places) > SHOWN else ""
    return ", ".join(_printable(str(place)) for place in places[:SHOWN]) + more


Lines = Sequence[tuple[int, custom_files.Trial]]
"""Rows of a trials table with their line numbers."""


def _of_trials(
    path: Path, trials: Sequence[custom_files.Trial], folder: Path, images: Mapping[str, str]
) -> Iterator[str]:
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
        yield f"{path}: the rows of session {_listed(scattered)} are not contiguous; sort the table and the betas by it"
    yield from _of_splits(path, shown)


def _of_cells(path: Path, shown: Lines) -> Iterator[str]:
    for name, accepts, expected in (
        ("session", _is_label, "letters and digits"),
        ("run", _is_label, "letters and digits"),
        ("repeat", lambda cell: cell.isdecimal() and int(cell) > 0, "a whole number from 1"),
        ("split", custom_files.SPLITS.__contains__, "train, test or n/a"),
    ):
        wrong = {line: cell for line, trial in shown if not accepts(cell := getattr(trial, name))}
        if wrong:
            yield f"{path} line {_listed([*wrong])}: {name} is {next(iter(wrong.values()))!r}; expected {expected}"


def _of_stimuli(path: Path, shown: Lines, folder: Path, images: Mapping[str, str]) -> Iterator[str]:
    names = {line: trial.stim_file for line, trial in shown}
    outside = [line for line, name in names.items() if _is_outside(name)]
    if outside:
        yield (
            f"{path} line {_listed(outside)}: stim_file is {names[outside[0]]!r}; expected a path below the folder of "
            "images, without .., drive or leading slash"
        )
    unknown = [line for line, name in names.items() if not _is_outside(name) and name not in images]
    if unknown and images:
        name, lines = names[unknown[0]], _listed(unknown)
        yield f"{path} line {lines}: stim_file {name!r} is not in the folder of images; {_hint(folder, name, images)}"


def _hint(folder: Path, name: str, images: Mapping[str, str]) -> str:
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
    return f"did you mean {_printable(images[similar[0]])}?" if similar else "put it there or correct the name"


def _printable(name: str) -> str:
    """A name that a log in UTF-8 can hold; bytes of names that are not UTF-8 are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _alike(ids: Mapping[str, int]) -> list[str]:
    """Names that differ only in how letters and their accents are stored."""
    n_times = Counter(map(custom_files.composed, ids))
    return [_printable(name) for name in ids if n_times[custom_files.composed(name)] > 1]


def _of_repeats(path: Path, shown: Lines) -> Iterator[str]:
    n_times = Counter((trial.stim_file, trial.repeat) for _, trial in shown)
    doubled = {line: trial for line, trial in shown if n_times[trial.stim_file, trial.repeat] > 1}
    if doubled:
        trial = next(iter(doubled.values()))
        yield (
            f"{path} line {_listed([*doubled])}: repeat {trial.repeat} of {trial.stim_file} comes "
            f"{n_times[trial.stim_file, trial.repeat]} times; expected once, so count its repeats 1, 2, 3"
        )


def _of_splits(path: Path, shown: Lines) -> Iterator[str]:
    stimuli = {split: {trial.stim_file for _, trial in shown if trial.split == split} for split in custom_files.SPLITS}
    leaking = sorted(stimuli["train"] & stimuli["test"])
    if leaking:
        yield (
            f"{path}: {_listed(leaking)} is in train and in test; expected one of them, because a stimulus that trains "
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


def _mask(files: custom_files.SubjectFiles) -> nifti.Mask:
    """The voxels of a subject, or why there are none."""
    first = files.betas[0]
    in_volumes = first.name.endswith(custom_files.VOLUMES)
    if files.mask is None and in_volumes:
        raise ValueError(f"{first} has volumes, and mask is none; expected a mask on the same grid")
    mask = custom_files.read_mask(files.mask, custom_files.n_voxels(first))
    if not mask.selected.any():
        raise ValueError(f"{files.mask} selects 0 voxels; expected at least 1 above 0")
    return mask


class _Session:
    """What was found in the betas of a session, block by block."""

    def __init__(self, name: str, n_voxels: int) -> None:
        self.name = name
        self.moments = units.Moments(n_voxels)
        self.lowest, self.highest = np.full(n_voxels, np.inf), np.full(n_voxels, -np.inf)
        self.n_measured = 0
        self.unmeasured: list[tuple[int, float]] = []  # trials that a split uses, and the one value of each
        self.infinite = np.zeros(n_voxels, bool)
        self.unfit_trial = np.full(n_voxels, -1)  # the first trial that is no number
        self.unfit_value = np.zeros(n_voxels)

    def add(self, block: np.ndarray, used: np.ndarray, first: int) -> None:
        """Add trials, the first of which has the number `first` in its file; `used` says which a split uses."""
        measured = custom_files.is_measured(block)
        trials = first + np.flatnonzero(measured)
        self.unmeasured += [(first + row, float(block[row, 0])) for row in np.flatnonzero(used & ~measured).tolist()]
        block = block if measured.all() else block[measured]
        self.n_measured += len(block)
        self.moments.add(block)
        self.lowest = np.fmin(self.lowest, np.fmin.reduce(block, axis=0, initial=np.inf))
        self.highest = np.fmax(self.highest, np.fmax.reduce(block, axis=0, initial=-np.inf))
        if self.moments.n.min() == self.n_measured:
            return
        self.infinite |= np.isinf(block).any(0)
        for row, trial in zip(block, trials.tolist(), strict=True):
            new = ~np.isfinite(row) & (self.unfit_trial < 0)
            self.unfit_trial[new], self.unfit_value[new] = trial, row[new]

    @property
    def absent(self) -> np.ndarray:
        """Which voxels are NaN in all trials that were measured."""
        return (self.moments.n == 0) & ~self.infinite & (self.n_measured > 0)

    def unfit(self, mask: nifti.Mask) -> tuple[int, str]:
        """How many values are infinite, or NaN in a voxel that other trials have; and the first of them, in words."""
        columns = np.flatnonzero(~self.absent & (self.unfit_trial >= 0))
        if not len(columns):
            return 0, ""
        column = int(columns[np.argmin(self.unfit_trial[columns])])
        place = f"{self.unfit_value[column]:g} in trial {self.unfit_trial[column]} (from 0), {_voxel(mask, column)}"
        return int((self.n_measured - self.moments.n[columns]).sum()), place


def _of_betas(
    files: custom_files.SubjectFiles,
    trials: Sequence[custom_files.Trial] | None,
    mask: nifti.Mask,
    checks: Checks,
) -> Iterator[str]:
    """Problems of a subject's betas: trials, grid and values."""
    first = files.betas[0]
    found = custom_files.sessions(trials) if trials else []
    by_file = [(path, None) for path in files.betas]
    if len(files.betas) > 1 and trials and len(found) != len(files.betas):
        yield (
            f"{files.trials} has sessions {_listed([name for name, _ in found])}, and there are {len(files.betas)} "
            f"files of betas, such as {first}; expected one for each session"
        )
    elif trials:
        by_file = custom_files.ranges_by_file(files.betas, trials)
    used = np.array([trial.split in custom_files.SPLITS for trial in trials or ()], bool)
    sessions: list[_Session] = []
    whole = True
    for path, ranges in by_file:
        n_rows = ranges[-1][1].stop if ranges else 0
        here, used = (used[:n_rows], used[n_rows:]) if ranges else (None, used)
        sentences, of_file = _of_file(path, files.trials, ranges, here, mask, checks)
        yield from sentences
        whole = whole and bool(of_file)
        sessions += of_file
    if whole:
        yield from _of_sessions(first, sessions, mask, checks)


def _of_sessions(first: Path, sessions: Sequence[_Session], mask: nifti.Mask, checks: Checks) -> Iterator[str]:
    """Problems that show in all sessions of a subject together: voxels that are absent or constant, units."""
    absent = np.any([session.absent for session in sessions], axis=0)
    lowest = np.min([session.lowest for session in sessions], axis=0)
    highest = np.max([session.highest for session in sessions], axis=0)
    constant = ~absent & (lowest >= highest)
    fix = "correct the mask, or set nsd.constant_voxels: drop"
    if checks.constant_voxels == "error" and absent.any():
        column = int(np.flatnonzero(absent)[0])
        names = [session.name for session in sessions if session.absent[column]]
        yield (
            f"{first}: {np.count_nonzero(absent)} of {len(absent)} voxels are NaN in every trial of a session, as "
            f"GLMsingle leaves voxels that it cannot fit, the first is {_voxel(mask, column)} in session "
            f"{_listed(names)}; {fix}"
        )
    if checks.constant_voxels == "error" and constant.any():
        yield (
            f"{first}: {np.count_nonzero(constant)} of {len(constant)} voxels never change, the first is "
            f"{_voxel(mask, int(np.flatnonzero(constant)[0]))}; {fix}"
        )
    elif (absent | constant).all():
        yield f"{first}: every voxel of the mask is constant, or NaN in a session; expected betas inside the mask"
    if checks.zscore == NONE:
        yield from _of_units(first, sessions)


def _of_units(first: Path, sessions: Sequence[_Session]) -> Iterator[str]:
    """Sessions of different units, whose betas would be averaged."""
    fix = "write all in one unit, or set custom.zscore: session"
    sizes = {session.name: session.moments.size for session in sessions}
    different = units.different_size(sizes.items())
    zscored = [session.name for session in sessions if session.moments.is_zscored]
    if different:
        small, large = different
        yield (
            f"{first}: betas of session {large} are {sizes[large] / sizes[small]:.3g} times as large as those of "
            f"session {small}, as if in another unit; {fix}"
        )
    elif zscored and len(zscored) < len(sessions):
        others = [session.name for session in sessions if session.name not in zscored]
        yield f"{first}: betas of session {_listed(zscored)} are z-scored, those of {_listed(others)} are not; {fix}"


def _of_file(
    path: Path,
    trials: Path,
    ranges: Sequence[tuple[str, range]] | None,
    used: np.ndarray | None,
    mask: nifti.Mask,
    checks: Checks,
) -> tuple[list[str], list[_Session]]:
    """The problems of one file of betas, and what was found in its sessions.

    Parameters
    ----------
    path
        The file.
    trials
        The trials table, for messages.
    ranges
        (session, its rows) of all rows of the trials table for this file; None if there is no table.
    used : (rows,)
        Which of these rows a split uses.
    mask
        The voxels.
    checks
        What is asked for.
    """
    sentences = []
    try:
        with custom_files.opening(path) as betas:
            n_rows = ranges[-1][1].stop if ranges else betas.n_trials
            if betas.n_trials != n_rows:
                sentences.append(f"{path} has {betas.n_trials} trials, {trials} {n_rows} rows for it; expected as many")
            n_selected = int(mask.selected.sum())
            if betas.series is None and betas.values.shape[1] != n_selected:
                sentences.append(
                    f"{path} has {betas.values.shape[1]} voxels, {mask.path} selects {n_selected}; expected as many, "
                    "in C order of the mask"
                )
                return sentences, []
            if betas.series is not None:
                grid = _grid_problem(path, betas.series.shape, betas.series.affine, mask, checks)
                if grid:
                    damaged = nifti.damage(path, custom_files.FIX)
                    return [damaged] if damaged else [*sentences, grid], []
            ranges = ranges or [("", range(n_rows))]
            used = np.ones(n_rows, bool) if used is None else used
            sessions = [_Session(name, n_selected) for name, _ in ranges]
            first = 0
            for number, block in custom_files.cut(betas.blocks(mask.selected), [rows for _, rows in ranges]):
                sessions[number].add(block, used[first : first + len(block)], first)
                first += len(block)
    except nifti.UNREADABLE as error:
        fault = system_faults.sentence(error, path)
        if fault:
            return [fault], []
        known = str(error).startswith(str(path)) or isinstance(error, hdf5_storage.IncompleteError)
        return [str(error) if known else f"{path} cannot be read ({nifti.reason(error)}); write it again"], []
    of_values = list(_of_values(path, sessions, mask))
    return [*sentences, *of_values], [] if of_values else sessions


def _of_values(path: Path, sessions: Sequence[_Session], mask: nifti.Mask) -> Iterator[str]:
    """Trials that were never measured, and values that are no number."""
    unmeasured = [trial for session in sessions for trial in session.unmeasured]
    if unmeasured:
        trial, value = unmeasured[0]
        yield (
            f"{path} has {len(unmeasured)} trials that are one number in all {mask.selected.sum()} voxels of the mask, "
            f"the first {value:g} in trial {trial} (from 0), as where nothing was measured or written; write them "
            "again, or set their split to n/a"
        )
    unfit = [found for session in sessions if (found := session.unfit(mask))[0]]
    if unfit:
        yield (
            f"{path} has {sum(n for n, _ in unfit)} values inside the mask that are no number, the first "
            f"{unfit[0][1]}; correct the betas, or take these voxels out of the mask"
        )


def _grid_problem(path: Path, shape: Sequence[int], affine: np.ndarray, mask: nifti.Mask, checks: Checks) -> str | None:
    """The sentence about a volume that lies on another grid than the mask; None if it does not."""
    problem = nifti.grid_problem(path, shape, mask, affine if checks.check_affine else None)
    if problem is None:
        return None
    if tuple(shape) != mask.selected.shape:
        return f"{problem}, so resample one or correct its header"
    if nifti.is_turned(affine, mask.affine, shape):
        return f"{problem}: their axes run in other directions, so turn both with nibabel.as_closest_canonical"
    return (
        f"{problem}, so resample the mask to the grid of the betas, or, if one header is wrong and both are on one "
        "grid, set custom.check_affine: false"
    )


def _voxel(mask: nifti.Mask, column: int) -> str:
    return f"voxel {tuple(np.argwhere(mask.selected)[column].tolist())}"


def _of_roi(name: str, path: Path, mask: nifti.Mask, subject: str, checks: Checks) -> Iterator[str]:
    """Problems of a region: its grid, and whether it has voxels inside the mask."""
    read, found = _attempt(lambda: nifti.read_volume(path))
    yield from found
    if read is None:
        return
    volume, affine = read
    grid = _grid_problem(path, volume.shape, affine, mask, checks)
    if grid:
        yield grid
    elif not (mask.selected & (volume > 0)).any():
        yield f"{path}: region {name} has no voxel inside the mask of {subject}; correct it, or leave it out of rois"


def _pixels(folder: Path, images: Mapping[str, str]) -> tuple[dict[str, bytes], list[str]]:
    """A hash of the decoded pixels of each image, and a sentence for each problem of mode, size or damage.

    Parameters
    ----------
    folder
        The folder of images.
    images : {stim_file: path below the folder}
        The images.

    Memory
    ------
    One image. Each is decoded once, which takes nearly all of the time: 5 ms for 425 x 425 pixels.
    """
    content: dict[str, bytes] = {}
    sizes: dict[str, tuple[int, int]] = {}
    sentences: list[str] = []
    for name, path in images.items():
        try:
            with custom_files.open_image(folder / path) as image:
                sizes[name] = image.size
                wrong = _of_image(folder / path, image) or _of_one_colour(folder / path, image)
                content[name] = _pixel_hash(image)
        except (OSError, ValueError) as error:
            wrong = _naming(folder / path, error)
        sentences.extend([wrong] if wrong else [])
    return content, sentences + list(_of_sizes(folder, sizes))


def _of_one_colour(path: Path, image: Image.Image) -> str | None:
    """The sentence about an image whose pixels are all equal, as in one that was never written."""
    image.load()
    if any(low != high for low, high in np.reshape(image.getextrema(), (-1, 2)).tolist()):
        return None
    return (
        f"{path} is one colour everywhere, {image.getpixel((0, 0))}; expected what was shown, so copy it again, or set "
        "the split of its trials to n/a"
    )


def _pixel_hash(image: Image.Image) -> bytes:
    """A hash of what an image shows: its pixels as RGB and upright, however they are stored."""
    upright = ImageOps.exif_transpose(image).convert("RGB")
    return hashlib.sha256(repr(upright.size).encode() + upright.tobytes()).digest()


def _naming(path: Path, error: Exception) -> str:
    """The sentence of an error about a file, which begins with the path."""
    sentence = str(error)
    return sentence if sentence.startswith(str(path)) else f"{path} cannot be read ({sentence})"


def _of_sizes(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Problems of the sizes of images: more than one, or no square."""
    if not sizes:
        return
    usual, _ = Counter(sizes.values()).most_common(1)[0]
    odd = [name for name, size in sizes.items() if size != usual]
    if odd:
        width, height = sizes[odd[0]]
        yield (
            f"{folder}: {_listed(odd)} has another size than the other images, {width} x {height} pixels, not "
            f"{usual[0]} x {usual[1]}; expected one size, so crop or pad to what was on the screen"
        )
    if usual[0] != usual[1]:
        yield f"{folder} has images of {usual[0]} x {usual[1]} pixels; expected squares, so crop or pad them"


def _of_copies(folder: Path, content: Mapping[str, bytes], splits: Mapping[tuple[str, str], set[str]]) -> Iterator[str]:
    """Images of a subject's test whose pixels are, under another name, those of an image of its training."""
    for subject in dict.fromkeys(subject for subject, _ in splits):
        train, test = (splits.get((subject, split), set()) & set(content) for split in custom_files.SPLITS)
        known = {content[name]: name for name in sorted(train)}
        copies = sorted(name for name in test - train if content[name] in known)
        if copies:
            yield (
                f"{folder}: {_listed(copies)} is in the test of {subject} and has the same pixels as "
                f"{known[content[copies[0]]]}, which is in train; expected one of them, so name it once"
            )


def _of_image(path: Path, image: Image.Image) -> str | None:
    """Why the pixels of an open image are not what was shown; None if they are."""
    depth = 8
    if image.format == "PNG":
        with open(path, "rb") as stream:
            depth = stream.read(PNG_DEPTH + 1)[PNG_DEPTH]
    if image.format == "TIFF":
        depth = max(image.tag_v2.get(TIFF_DEPTH, (depth,)))  # pyright: ignore[reportAttributeAccessIssue]
    if depth > 8 or image.mode.startswith("I"):
        return f"{path} has {max(16, depth)} bits per channel; expected 8, so convert it"
    if image.mode not in MODES:
        return f"{path} is {image.mode}; expected 8-bit RGB or grey (L), so convert it"
    if "transparency" in image.info:
        return f"{path} has a transparent colour; expected 8-bit RGB or grey, so save it as it was on the screen"
    if getattr(image, "n_frames", 1) > 1:
        return f"{path} has {image.n_frames} frames; expected a still image, so save the frame that was shown"  # pyright: ignore[reportAttributeAccessIssue]
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        return f"{path} is stored rotated (EXIF orientation); turn its pixels and delete the tag"
    return None


def _of_captions(path: str | Path, used: Sequence[str]) -> Iterator[str]:
    """Stimuli without a caption."""
    captions, found = _attempt(lambda: custom_files.read_captions(path))
    yield from found
    if captions is None:
        return
    without = [name for name in used if name not in captions]
    if without:
        yield f"{path} has no caption for {_listed(without)}; add one or more, or set captions: none"
    empty = [name for name in used if name in captions and not captions[name]]
    if empty:
        yield f"{path}: every caption of {_listed(empty)} is empty; write one, or set captions: none"
