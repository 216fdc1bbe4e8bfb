"""Captions of stimuli: the published forms of NSD's captions, and the artifact."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from brain_diffuser.artifacts import hdf5, system_faults
from brain_diffuser.data import nifti

N_IMAGES = 73_000  # rows of the stimulus file and of the curated captions


def read_captions(path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"]) -> dict[int, list[str]]:
    """The captions of each stimulus that are not empty, in the order of the file.

    The file is `COCO_73k_annots_curated.npy` (a row per image), a .json file ({"nsd_id": [captions]}), or a .csv file
    (a row per caption, below the header nsd_id,caption).

    Raises FileNotFoundError, ValueError: the file is unreadable or of the wrong length, or a stimulus is missing or has
    no caption.
    """
    path = Path(path)
    readers = {".npy": _captions_npy, ".json": _captions_json, ".csv": _captions_csv}
    if path.suffix not in readers:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected captions in {', '.join(readers)}.")
    if not system_faults.is_file(path):
        raise FileNotFoundError(f"{path} is missing; expected the captions of the images.")
    known = readers[path.suffix](path)
    captions = {}
    for number in nsd_id.tolist():
        if isinstance(known, dict) and number not in known:
            raise ValueError(f"{path} has captions of {len(known)} images and lacks nsd_id {number}. Add it.")
        captions[number] = [text for text in (str(text).strip() for text in known[number]) if text]
        if not captions[number]:
            raise ValueError(f"{path}: all captions of nsd_id {number} are empty; expected at least 1. Add one.")
    return captions


def write_captions(path: str | Path, captions: Mapping[int, list[str]]) -> None:
    """Write captions as JSON, {"nsd_id": [captions]}."""
    with hdf5.atomic(path) as partial:
        partial.write_text(json.dumps(captions, ensure_ascii=False, indent=1), encoding="utf-8")


def _captions_npy(path: Path) -> np.ndarray:
    """The curated captions, a row of fixed-width texts per image; left on disk."""
    try:
        captions = np.load(path, mmap_mode="r", allow_pickle=False)
    except nifti.UNREADABLE as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} cannot be read as an array of texts ({error}). Download it again.") from error
    if captions.dtype.kind != "U" or captions.ndim != 2 or len(captions) != N_IMAGES:
        raise ValueError(f"{path} is {captions.dtype} {captions.shape}; expected texts, {N_IMAGES} rows by captions.")
    return captions


def _captions_json(path: Path) -> dict[int, list[str]]:
    """Captions of {"nsd_id": [captions]}."""
    try:
        captions = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(texts, list) for texts in captions.values()):
            raise TypeError("a value is not a list")
        return {int(nsd_id): texts for nsd_id, texts in captions.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} cannot be read as captions ({error}); expected {{"nsd_id": ["caption"]}}.') from error


def _captions_csv(path: Path) -> dict[int, list[str]]:
    """Captions of rows nsd_id,caption."""
    captions: dict[int, list[str]] = {}
    with open(path, newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        if header != ["nsd_id", "caption"]:
            raise ValueError(f"{path} has columns {header}; expected ['nsd_id', 'caption'].")
        for row in rows:
            if len(row) != 2 or not row[0].isdecimal():
                raise ValueError(f"{path} line {rows.line_num} is {row}; expected a nsd_id and a caption.")
            captions.setdefault(int(row[0]), []).append(row[1])
    return captions
