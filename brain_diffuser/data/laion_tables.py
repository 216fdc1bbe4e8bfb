"""Tables of LAION-fMRI: trials, metadata of the images, splits and captions, as the dataset's own files have them.

Images are known by their file names (`label`, `image_name`), which are compared as texts: a + in them is a +. Their
nsd_id is their row in the metadata, which is their place in the file of stimuli.

Source: the dataset's Python package and documentation (ViCCo-Group/LAION-fMRI); not tried on the published files.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brain_diffuser.artifacts import captions as caption_texts
from brain_diffuser.artifacts import messages, tables, text_files
from brain_diffuser.data import stimulus_table
from brain_diffuser.data.wording import listed

logger = logging.getLogger(__name__)

TRIALS = ("session", "run", "beta_index", "label")
METADATA = ("image_name", "dataset", "participant", "unique_or_shared", "n_reps")
CAPTIONS = ("image_name", "caption_idx", "source", "caption")
SPLITS = ("train", "test")
ABOUT = ("name", "pool", "splitter", "params", "revision")
"""What a split's file says of itself; its pool may be another numbering of the subjects, so its folder is trusted."""


class Trial(NamedTuple):
    """A row of a table of trials: the run, and the name of the image that was shown."""

    run: str
    label: str


class Image(NamedTuple):
    """A row of the metadata.

    Parameters
    ----------
    nsd_id
        The place of the row, from 0, which is that of the image in the file of stimuli.
    source
        What the image comes from, such as LAION, THINGS or NSD.
    subject
        The number of the one subject who saw it; None for images that subjects share.
    n_repeats
        How often it was to be shown.
    """

    nsd_id: int
    source: str
    subject: int | None
    n_repeats: int


class Split(NamedTuple):
    """A variant of a published split: names of images, and what its file says of it."""

    names: dict[str, list[str]]
    about: dict[str, Any]


def read_trials(path: str | Path) -> list[Trial]:
    """The trials of a session in the order of the volumes of its betas, which `beta_index` has, from 0.

    Raises FileNotFoundError, ValueError: see `tables.read_rows`; volumes are missing or named twice, or the rows are of
    several sessions.
    """
    rows = tables.read_rows(path, TRIALS)
    volumes = tables.numbers(path, rows, "beta_index", np.int64).tolist()
    n_times = Counter(volumes)
    wrong = [number for number in range(len(rows)) if n_times[number] != 1]
    if not rows or wrong:
        problem = f"{wrong[0]} comes {n_times[wrong[0]]} times" if wrong else "it has none"
        raise ValueError(
            f"{path}: beta_index has to be 0 to {max(0, len(rows) - 1)} in its {len(rows)} rows, and {problem}; "
            "expected a row for each volume of the betas, so download the table again"
        )
    sessions = list(dict.fromkeys(row["session"] for row in rows))
    if len(sessions) > 1:
        raise ValueError(f"{path} has sessions {listed(sessions)}; expected one, so download the table again")
    order = np.argsort(volumes).tolist()
    return [Trial(rows[row]["run"], rows[row]["label"]) for row in order]


def read_metadata(path: str | Path) -> dict[str, Image]:
    """All images by their names, in the order of the file of stimuli.

    Whose a unique image is, `participant` says; the p02 at the end of a name is another numbering of the subjects.

    Raises FileNotFoundError, ValueError: see `tables.read_rows`; a name comes twice, or a cell is of another kind.
    """
    images: dict[str, Image] = {}
    for number, row in enumerate(tables.read_csv(path, METADATA)):
        where: messages.Sentence = f"{path} line {number + 2}"
        name, kind = row["image_name"], row["unique_or_shared"]
        if name in images:
            raise ValueError(f"{where}: image_name is {name!r}, as in line {images[name].nsd_id + 2}; expected it once")
        if kind not in ("unique", "shared"):
            raise ValueError(f"{where}: unique_or_shared is {kind!r}; expected unique or shared")
        repeats = re.fullmatch(r"(\d{1,6})(\.0|reps?)?", row["n_reps"].strip())
        if not repeats:
            raise ValueError(f"{where}: n_reps is {row['n_reps']!r}; expected a number such as 12 or 12rep")
        subject = subject_number(row["participant"]) if kind == "unique" else None
        if kind == "unique" and subject is None:
            raise ValueError(
                f"{where}: participant of the unique image {name} is {row['participant']!r}; expected one, such as "
                "sub-03"
            )
        images[name] = Image(number, row["dataset"], subject, int(repeats[1]))
    return images


def subject_number(text: str) -> int | None:
    """The number of a subject as tables and configurations write it: sub-03, sub03, 03 or 3; None for anything else."""
    found = re.fullmatch(r"(?:sub-?)?0*(\d{1,4})(?:\.0)?", text.strip())
    return int(found[1]) if found else None


def read_split(path: str | Path, variant: str) -> Split:
    """One variant of a published split, as its file has it; nothing of a split is ever made again here.

    Parameters
    ----------
    path
        A JSON file with `variants`, each of which has train_ids and test_ids, names of images.
    variant
        The variant_id, or "only" for that of a file with one.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is no such JSON, has no such variant, or names an image twice.
    """
    found = text_files.read_json(path)
    variants = found.get("variants") if isinstance(found, dict) else None
    if not isinstance(variants, list) or not all(isinstance(each, dict) for each in variants):
        raise ValueError(f"{path} has no list of variants; expected a split of LAION-fMRI as published")
    by_id = {str(each.get("variant_id", place)): each for place, each in enumerate(variants)}
    if variant == "only" and len(variants) != 1:
        raise ValueError(f"{path} has {len(variants)} variants, {listed([*by_id])}; name one of them in split.variant")
    if variant not in ("only", *by_id):
        raise ValueError(f"{path} has no variant {variant}; expected one of {listed([*by_id])}, so set split.variant")
    chosen = next(iter(by_id.values())) if variant == "only" else by_id[variant]
    names = {split: _names(path, chosen, f"{split}_ids") for split in SPLITS}
    doubled = [name for name, n in Counter(names["train"] + names["test"]).items() if n > 1]
    if doubled:
        raise ValueError(
            f"{path} names {listed(doubled)} more than once; expected each image in train or in test alone"
        )
    about = {key: found[key] for key in ABOUT if key in found}
    for split in SPLITS:
        stated = found.get(f"n_{split}")
        if len(variants) == 1 and stated is not None and stated != len(names[split]):
            raise ValueError(
                f"{path}: n_{split} is {stated}, and {split}_ids has {len(names[split])}; is it cut short?"
            )
    return Split(names, about | {"variant": str(chosen.get("variant_id", ""))})


def _names(path: str | Path, variant: Mapping[str, Any], key: str) -> list[str]:
    names = variant.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: {key} is {caption_texts.describe(names)}; expected a list of names of images")
    return names


def sha256(path: str | Path) -> str:
    """The digest of a small file; empty as long as it is not there."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else ""


def split_stimuli(
    trials: Mapping[Path, Sequence[Trial]],
    images: Mapping[str, Image],
    split: Split,
    split_path: str | Path,
    subject: str,
) -> dict[str, stimulus_table.Stimuli]:
    """The train and test stimuli in the order of first presentation, with all their trials, counted from 0.

    Parameters
    ----------
    trials : {table of a session: its trials}
        All sessions that are read, in order.
    images : {name: image}
        The metadata.
    split
        The names of the images of each split.
    split_path
        Its file, for messages.
    subject
        Whose trials these are, such as sub03.

    Raises
    ------
    ValueError
        A trial or the split has a name that is not in the metadata, or an image that another subject alone saw.
    """
    number = subject_number(subject)
    used = set(split.names["train"]) | set(split.names["test"])
    shown_in = [(path, {trial.label for trial in rows}) for path, rows in trials.items()]
    for path, names in (*shown_in, (split_path, used)):
        unknown = sorted(names - images.keys())
        if unknown:
            raise ValueError(f"{path} names {listed(unknown)}, which is not in the metadata; are they of one release?")
        others = sorted(name for name in names if images[name].subject not in (None, number))
        if others:
            raise ValueError(
                f"{path} names {listed(others)}, which the metadata's participant column gives to subject "
                f"{images[others[0]].subject} alone; expected images of {subject}, so is the file another subject's?"
            )
    shown = np.array([trial.label for rows in trials.values() for trial in rows])
    nsd_id = np.array([images[name].nsd_id for name in shown.tolist()], np.int32)
    return {
        name: stimulus_table.group_trials(nsd_id, np.flatnonzero(np.isin(shown, split.names[name]))) for name in SPLITS
    }


def log_counts(
    splits: Mapping[str, stimulus_table.Stimuli], images: Mapping[str, Image], split: Split, path: str | Path
) -> None:
    """Log which split it is, how many stimuli of which source it has, and how many were shown less often than planned.

    Parameters
    ----------
    splits
        The stimuli that have trials.
    images : {name: image}
        The metadata.
    split
        The published split.
    path
        Its file.
    """
    logger.info("split %s, sha256 %s: %s", path, sha256(path), split.about)
    by_id = {image.nsd_id: image for image in images.values()}
    for name, stimuli in splits.items():
        sources = Counter(by_id[number].source for number in stimuli.nsd_id.tolist())
        words = ", ".join(f"{n} {source}" for source, n in sorted(sources.items()))
        logger.info("%s: %d stimuli (%s)", name, len(stimuli.nsd_id), words)
        unseen = len(split.names[name]) - len(stimuli.nsd_id)
        if unseen:
            logger.warning("%s: %d images of the split have no trial in the sessions that are read", name, unseen)
        pairs = zip(stimuli.nsd_id.tolist(), stimuli.trials, strict=True)
        missing = [by_id[number].n_repeats - len(trials) for number, trials in pairs]
        if any(n > 0 for n in missing):
            logger.info("%s: %d stimuli were shown less often than n_reps says", name, sum(n > 0 for n in missing))
        if any(n < 0 for n in missing):
            logger.warning("%s: %d stimuli were shown more often than n_reps says", name, sum(n < 0 for n in missing))


def read_captions(path: str | Path, source: str) -> dict[str, list[str]]:
    """The captions of each image by its name, in the order of caption_idx: of one source, human or ai, or "all".

    Raises FileNotFoundError, ValueError: see `tables.read_rows`; a caption is no text, or no row is of the source.
    """
    rows = tables.read_csv(path, CAPTIONS)
    order = tables.numbers(path, rows, "caption_idx", np.int64).tolist()
    captions: dict[str, list[str]] = {}
    for place in np.argsort(order, kind="stable").tolist():
        row = rows[place]
        text = row["caption"].strip()
        if source not in ("all", row["source"]) or not text:
            continue
        wrong = caption_texts.problem(text)
        if wrong:
            raise ValueError(f"{path} line {place + 2}: the caption of {row['image_name']} is {wrong}")
        captions.setdefault(row["image_name"], []).append(text)
    if not captions:
        sources = listed(sorted({row["source"] for row in rows}))
        raise ValueError(f"{path} has no caption of source {source}; it has {sources or 'none'}, so set caption_source")
    return captions


def check_captions(
    path: str | Path,
    captions: Mapping[str, Sequence[str]],
    shown: Mapping[str, Sequence[str]],
    source: str,
    test_without_caption: str,
) -> None:
    """Raise if a stimulus has no caption, but for test stimuli that need none.

    Parameters
    ----------
    path
        The table, for the message.
    captions : {name: texts}
        The captions.
    shown : {split: names}
        The stimuli.
    source
        Which captions were read: human, ai or all.
    test_without_caption
        "error", or "no caption", which test stimuli then have instead.

    Raises
    ------
    ValueError
        A stimulus has none.
    """
    for split, names in shown.items():
        without = [name for name in names if name not in captions]
        if without and split == "test" and test_without_caption != "error":
            logger.warning("%d of %d test stimuli have no caption of source %s", len(without), len(names), source)
        elif without:
            fix = "set test_without_caption to no caption" if split == "test" else "set caption_source to all"
            raise ValueError(
                f"{path} has no caption of source {source} for {len(without)} of {len(names)} {split} stimuli, "
                f"{listed(without)}; download it again, or {fix}"
            )
