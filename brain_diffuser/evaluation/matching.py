"""Folders of images matched with test stimuli by the names of files: images that any program wrote, of any size."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import ImageOps

from brain_diffuser.artifacts import hdf5, messages, tables
from brain_diffuser.data import custom, custom_files

Image = UInt8[np.ndarray, "_ _ 3"]
LEAST = 2  # images: every score compares a stimulus with others
TABLE = ("file", "stimulus")
NUMBERED = re.compile(r"(?:(?:nsd|stim|stimulus|image|img|recon|sample)[ _-]?)?(\d{1,9})", re.I)  # nsd02950, 2950


class Stimuli(NamedTuple):
    """Test stimuli that images are compared with.

    Parameters
    ----------
    nsd_id : (stimuli,)
        Their ids; without ids the places of their names in order, from 0.
    labels
        What tables call each stimulus: its id, or the name of its image without the ending.
    images
        Their images.
    source
        Where they come from.
    has_ids
        Whether they have ids, which images of a folder have if all their names have a number.
    """

    nsd_id: Int32[np.ndarray, " stimuli"]
    labels: Sequence[str]
    images: Sequence[Image]
    source: str
    has_ids: bool = True


class Matched(NamedTuple):
    """Images of some stimuli.

    Parameters
    ----------
    rows : (images,)
        The stimulus of each image, by its place among all.
    files
        The file of each image.
    images
        The images.
    notes
        A sentence for each kind of file or stimulus that does not count.
    """

    rows: np.ndarray
    files: Sequence[str]
    images: Sequence[Image]
    notes: Sequence[str]


def of_artifact(path: str | Path, stim_files: str | Path = "") -> Stimuli:
    """The stimuli of a stored array of a test set; with a table of their image files, by the names of these."""
    stored = hdf5.load(path)
    if stored.values.ndim != 4 or stored.values.dtype != np.uint8:
        raise ValueError(
            f"{path} has {stored.values.dtype} of shape {stored.values.shape}; expected images (stimuli, height, "
            "width, 3), uint8, so name a stimuli_test.h5 or a folder of images"
        )
    names = {number: name for name, number in custom.read_ids(stim_files).items()} if stim_files else {}
    labels = [_stem(names[number]) if number in names else str(number) for number in stored.nsd_id.tolist()]
    return Stimuli(stored.nsd_id, labels, list(stored.values), str(path))


def of_folder(folder: str | Path) -> Stimuli:
    """The images of a folder as stimuli; their ids are the numbers in their names, if all of these have one."""
    files = image_files(folder)
    labels = [_stem(file.name) for file in files]
    found = [_number(label) for label in labels]
    are_numbered = None not in found and len(set(found)) == len(found)
    ids = found if are_numbered else range(len(files))
    images = [read(file) for file in files]
    return Stimuli(np.array([*ids], np.int32), labels, images, str(folder), are_numbered)


def image_files(folder: str | Path) -> list[Path]:
    """The images in a folder by name; files that begin with a dot are none.

    Raises ValueError: there is no such folder, or no image in it.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"{folder} is no folder; expected one with an image for each test stimulus")
    found = sorted(
        each
        for each in Path(folder).iterdir()
        if each.suffix.lower() in custom_files.IMAGES and not each.name.startswith(".") and each.is_file()
    )
    if not found:
        raise ValueError(
            f"{folder} has no image ({', '.join(custom_files.IMAGES)}); name the folder that the images themselves are "
            "in"
        )
    return found


def read(path: Path) -> Image:
    """An image as RGB, upright.

    Raises FileNotFoundError, ValueError: it cannot be read, or is not what a screen would show (transparent, 16 bits).
    """
    with custom_files.open_image(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"{path} has more than 8 bits per channel; save it as 8-bit RGB or grey")
        rgba = ImageOps.exif_transpose(image).convert("RGBA")
    pixels = np.asarray(rgba)
    if pixels[..., 3].min() < 255:
        raise ValueError(f"{path} is transparent in places; save it without transparency")
    return pixels[..., :3].copy()


def _by_id(stimuli: Stimuli, first: int) -> dict[str, int]:
    """The row of every stimulus by its label and by its id, of which the first possible one is `first`."""
    ids = stimuli.nsd_id.tolist() if stimuli.has_ids else []
    rows = {str(number + first): row for row, number in enumerate(ids)}
    counts = Counter(stimuli.labels)
    return rows | {label: row for row, label in enumerate(stimuli.labels) if counts[label] == 1 and not label.isdigit()}


WAYS: dict[str, Callable[[Stimuli], dict[str, int]]] = {
    "id": lambda stimuli: _by_id(stimuli, 0),
    "id_from_1": lambda stimuli: _by_id(stimuli, 1),
    "order": lambda stimuli: {str(row): row for row in range(len(stimuli.nsd_id))},
    "sorted": lambda stimuli: {str(place): int(row) for place, row in enumerate(np.argsort(stimuli.nsd_id))},
}
"""What the name of a file says of its stimulus: its id or name, its id in NSD's own numbers from 1, its place from 0 in
the order of the stored test set, or its place from 0 once stimuli are sorted by id."""


def match(files: Sequence[Path], stimuli: Stimuli, way: str, table: Path | None = None) -> tuple[list[int | None], str]:
    """The row of the stimulus of each file, None for none, and what is wrong with that, as a sentence, or nothing.

    Parameters
    ----------
    files : paths
    stimuli : Stimuli
    way : str
        A name in `WAYS`.
    table : path, optional
        A table with the columns file and stimulus, which says in place of their names whose images files are.

    Raises
    ------
    ValueError
        The table names a file that is not there, or one twice.
    """
    if table is not None:
        listed = _listed(files, table)
        rows = WAYS[way](stimuli)
        return [_row(rows, listed[file.name]) if file.name in listed else None for file in files], ""
    found = {name: [_row(rows(stimuli), _stem(file.name)) for file in files] for name, rows in WAYS.items()}
    n_unknown = found[way].count(None)
    best = min(found, key=lambda name: found[name].count(None))
    if n_unknown <= len(files) / 2:
        return found[way], ""
    hint = "write a table of the columns file and stimulus, and name it with --table"
    if found[best].count(None) < n_unknown:
        hint = f"{len(files) - found[best].count(None)} fit with --names {best}; use that if it is what they mean"
    return found[way], (
        f"{files[0].parent}: {n_unknown} of {len(files)} images have names of no test stimulus of {stimuli.source}, "
        f"such as {_first_unknown(files, found[way])}; expected names such as {stimuli.labels[0]}.png, so {hint}"
    )


def load(folder: str | Path, stimuli: Stimuli, way: str = "id", table: Path | None = None) -> Matched:
    """The images of a folder with the stimuli that they are of; arguments as of `match`.

    Images that cannot be used, that are of no stimulus, or of one that an earlier file shows are left out, and said.

    Raises ValueError: most names are those of no stimulus, or fewer than two images are left.

    Memory: all images of the folder.
    """
    files = image_files(folder)
    found, wrong = match(files, stimuli, way, table)
    if wrong:
        raise ValueError(wrong)
    images: dict[int, tuple[str, Image]] = {}
    doubled, unreadable = [], []
    for file, row in zip(files, found, strict=True):
        if row is None:
            continue
        if row in images:
            doubled.append((file.name, images[row][0]))
            continue
        try:
            images[row] = file.name, read(file)
        except (ValueError, OSError) as error:
            unreadable.append(str(error))
    missing = [label for row, label in enumerate(stimuli.labels) if row not in images]
    notes = list(_notes(folder, len(stimuli.labels), missing, doubled, unreadable))
    if None in found:
        n, first = found.count(None), _first_unknown(files, found)
        notes.append(
            f"{n} {_plural(n, 'file')} in {folder}, such as {first}, {_are(n)} of no test stimulus and left out."
        )
    if len(images) < LEAST:
        raise ValueError(
            f"{folder} has {len(images)} {_plural(len(images), 'image')} of test stimuli that can be used; expected at "
            f"least {LEAST}, for every score compares a stimulus with others. {' '.join(notes)}"
        )
    rows = sorted(images)
    return Matched(np.array(rows), [images[row][0] for row in rows], [images[row][1] for row in rows], notes)


def _notes(
    folder: str | Path,
    n_stimuli: int,
    missing: Sequence[str],
    doubled: Sequence[tuple[str, str]],
    unreadable: Sequence[str],
) -> Iterator[messages.Sentence]:
    """Sentences about what is missing, doubled or damaged."""
    if missing:
        yield (
            f"{len(missing)} of {n_stimuli} test stimuli {_have(len(missing))} no image in {folder} (the first: "
            f"{missing[0]}); scores are of the other {n_stimuli - len(missing)}."
        )
    if doubled:
        n, (name, first) = len(doubled), doubled[0]
        yield (
            f"{n} {_plural(n, 'file')} in {folder} {_are(n)} of a stimulus that another file shows ({name}, as "
            f"{first}); the first by name counts."
        )
    if unreadable:
        n = len(unreadable)
        yield f"{n} {_plural(n, 'image')} cannot be used and {_count(n)} as missing: {unreadable[0]}."


def _listed(files: Sequence[Path], table: Path) -> Mapping[str, str]:
    """{file: stimulus} of a table."""
    delimiter = "," if table.suffix.lower() == ".csv" else "\t"
    rows = tables.read_rows(table, TABLE, delimiter)
    names = {file.name for file in files}
    listed: dict[str, str] = {}
    for line, row in enumerate(rows, 2):
        if row["file"] not in names:
            raise ValueError(
                f"{table} line {line} names {row['file']}, which is no image in {files[0].parent}; correct or delete "
                "the line"
            )
        if row["file"] in listed:
            raise ValueError(f"{table} line {line} names {row['file']} a second time; delete one of its lines")
        listed[row["file"]] = _stem(row["stimulus"].strip())
    return listed


def _row(rows: Mapping[str, int], name: str) -> int | None:
    """The row of a name: of the name itself, or of the number in it."""
    number = _number(name)
    return rows.get(name, rows.get(str(number)) if number is not None else None)


def _number(name: str) -> int | None:
    found = NUMBERED.fullmatch(name)
    return int(found[1]) if found else None


def _stem(name: str) -> str:
    """The name of a file without folders and without the ending of an image."""
    path = Path(name)
    return path.stem if path.suffix.lower() in custom_files.IMAGES else path.name


def _first_unknown(files: Sequence[Path], found: Sequence[int | None]) -> str:
    return files[found.index(None)].name


def _plural(n: int, noun: str) -> str:
    return noun if n == 1 else f"{noun}s"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _have(n: int) -> str:
    return "has" if n == 1 else "have"


def _count(n: int) -> str:
    return "counts" if n == 1 else "count"
