"""Captions of stimuli: the published forms of NSD's captions, and the artifact."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from brain_diffuser.artifacts import captions as artifact
from brain_diffuser.artifacts import hdf5, system_faults, tables, text_files
from brain_diffuser.data import nifti

HEADER = ["nsd_id", "caption"]  # of a .csv file
N_IMAGES = 73_000  # rows of the stimulus file and of the curated captions


def read_captions(path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"]) -> dict[int, list[str]]:
    """The captions of each stimulus that are not empty, in the order of the file.

    The file is `COCO_73k_annots_curated.npy` (a row per image), a .json file ({"nsd_id": [captions]}), or a .csv file
    (a row per caption, below the header nsd_id,caption).

    Raises FileNotFoundError, ValueError: the file is unreadable or of the wrong length, a caption is no text, or a
    stimulus is missing or has no caption.
    """
    path = Path(path)
    readers = {".npy": _captions_npy, ".json": artifact.of_json, ".csv": _captions_csv}
    if path.suffix not in readers:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected captions in {', '.join(readers)}.")
    text_files.check_is_file(path, "the captions of the images")
    known = readers[path.suffix](path)
    captions = {}
    for number in nsd_id.tolist():
        if isinstance(known, dict) and number not in known:
            raise ValueError(f"{path} has captions of {len(known)} images and lacks nsd_id {number}. Add it.")
        captions[number] = [text for text in map(str.strip, _texts(path, known, number)) if text]
        if not captions[number]:
            raise ValueError(f"{path}: all captions of nsd_id {number} are empty; expected at least 1. Add one.")
    return captions


def write_captions(path: str | Path, captions: Mapping[int, list[str]]) -> None:
    """Write captions as JSON, {"nsd_id": [captions]}."""
    with hdf5.atomic(path) as partial:
        partial.write_text(json.dumps(captions, ensure_ascii=False, indent=1), encoding="utf-8")


def _texts(path: Path, known: Mapping[int, list[str]] | np.ndarray, number: int) -> list[str]:
    """The captions of a stimulus, each of which is a text."""
    if isinstance(known, np.ndarray):
        codes = np.ascontiguousarray(known[number]).view(np.dtype(np.uint32).newbyteorder(known.dtype.byteorder))
        if (codes > sys.maxunicode).any():
            raise ValueError(f"{path}: a caption of nsd_id {number} is no text. Download the file again.")
    texts = [str(text) for text in known[number]]
    for caption, text in enumerate(texts, 1):
        wrong = artifact.problem(text)
        if wrong:
            raise ValueError(f"{path}: caption {caption} of nsd_id {number} is {wrong}.")
    return texts


def _captions_npy(path: Path) -> np.ndarray:
    """The curated captions, a row of fixed-width texts per image; left on disk."""
    with open(path, "rb") as stream:
        wrong = text_files.placeholder(stream.read(text_files.HEAD_BYTES))
    if wrong:
        raise ValueError(f"{path} {wrong}.")
    try:
        captions = np.load(path, mmap_mode="r", allow_pickle=False)
    except nifti.UNREADABLE as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} cannot be read as an array of texts ({error}). Download it again.") from error
    if captions.dtype.kind != "U" or captions.ndim != 2 or len(captions) != N_IMAGES:
        raise ValueError(f"{path} is {captions.dtype} {captions.shape}; expected texts, {N_IMAGES} rows by captions.")
    return captions


def _captions_csv(path: Path) -> dict[int, list[str]]:
    """Captions of rows nsd_id,caption."""
    captions: dict[int, list[str]] = {}
    header, rows = tables.parse(path, ",")
    if header != HEADER:
        raise ValueError(f"{path} has columns {header}; expected {HEADER}.")
    for line, (nsd_id, caption) in rows:
        if not artifact.is_id(nsd_id):
            raise ValueError(f"{path} line {line} has nsd_id {nsd_id!r}; expected a whole number from 0.")
        captions.setdefault(int(nsd_id), []).append(caption)
    return captions
