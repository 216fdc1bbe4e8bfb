"""NSD's experimental design and stimulus file: which trial showed which image, and the images.

Ids are 1-based in nsd_expdesign.mat and 0-based (rows of the stimulus file) in everything that this module returns.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int32

from brain_diffuser.artifacts import hdf5, messages, system_faults
from brain_diffuser.data import hdf5_storage, matlab, nsd_sessions, placeholders
from brain_diffuser.data.stimulus_table import LEAST, Stimuli, group_trials, too_few

N_IMAGES = 73_000
N_TIMES = 3
N_SHARED = 1000  # the first images of every subject's list; the same ones for all, and the test split


def read_design(
    path: str | Path, subject_number: int, session_numbers: Sequence[int]
) -> tuple[Int32[np.ndarray, " trials"], Int32[np.ndarray, " trials"]]:
    """The nsd_id of the image of each trial of these sessions, and its rank, from 1, in the subject's list.

    Raises FileNotFoundError, ValueError: not a MAT file, a variable is missing or misshapen, too few trials.
    """
    path = Path(path)
    placeholders.refuse(path, "NSD's experimental design", "Download it.")
    try:
        design = matlab.read(path, ("masterordering", "subjectim"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a MAT file ({error}). Download it again.") from error
    for name, expected in (("masterordering", (1, 30000)), ("subjectim", (8, 10000))):
        shape = design[name].shape if name in design else None
        if shape != expected:
            has: messages.Sentence = f"has shape {shape}" if shape else "is missing"
            raise ValueError(f"{path}: {name} {has}; expected {expected}. Is this nsd_expdesign.mat?")
        if not (design[name] == np.clip(np.rint(design[name]), 0, 2**31 - 1)).all():
            raise ValueError(f"{path}: {name} has values that are not whole numbers from 0. Download it again.")
    ordering, images = design["masterordering"][0].astype(np.int32), design["subjectim"].astype(np.int32)
    trials = np.concatenate(
        [np.arange(nsd_sessions.N_TRIALS) + (n - 1) * nsd_sessions.N_TRIALS for n in session_numbers]
    )
    if not 1 <= subject_number <= len(images):
        raise ValueError(f"{path} has subjects 1 to {len(images)}, got subject {subject_number}.")
    if trials.max() >= len(ordering):
        raise ValueError(
            f"{path} has {len(ordering)} trials; session {max(session_numbers)} would need {trials.max() + 1}. Ask for "
            "fewer."
        )
    rank = ordering[trials]
    if rank.min() < 1 or rank.max() > images.shape[1]:
        raise ValueError(f"{path}: masterordering has values {rank.min()} to {rank.max()}; expected 1 to 10000.")
    _check_lists(path, images)
    _check_order(path, ordering)
    return images[subject_number - 1, rank - 1] - 1, rank


def _check_lists(path: Path, images: Int32[np.ndarray, "subjects ranks"]) -> None:
    """Raise if the subjects' lists of images are damaged: they have each image once, the first ones in common."""
    own = np.concatenate([images[0], *images[1:, N_SHARED:]])
    doubled = len(own) - len(np.unique(own))
    if own.min() < 1 or own.max() > N_IMAGES or doubled or (images[:, :N_SHARED] != images[0, :N_SHARED]).any():
        raise ValueError(
            f"{path}: subjectim has values {own.min()} to {own.max()}, {doubled} of them twice; expected 1 to "
            f"{N_IMAGES}, {N_SHARED} for all subjects and the others for one each. Download it again."
        )


def _check_order(path: Path, ordering: Int32[np.ndarray, " trials"]) -> None:
    """Raise if the order of trials is damaged: NSD shows every image of a list three times."""
    ranks, times = np.unique(ordering, return_counts=True)
    odd = ranks[times != N_TIMES]
    if len(odd) and len(odd) < 0.01 * len(ranks):  # else it is another experiment
        raise ValueError(
            f"{path}: masterordering shows {len(odd)} images not {N_TIMES} times as the others, the first of rank "
            f"{odd[0]}. Download it again."
        )


def split_stimuli(nsd_id: Int32[np.ndarray, " trials"], rank: Int32[np.ndarray, " trials"]) -> dict[str, Stimuli]:
    """The `train` and `test` stimuli; the test stimuli are the images that all subjects share (rank <= 1000).

    Stimuli are in the order of first presentation, so the test stimuli have the same order for every subject.

    Raises ValueError: a split has fewer than 2 stimuli.
    """
    shared = rank <= N_SHARED
    splits = {}
    for split, trials in (("train", np.flatnonzero(~shared)), ("test", np.flatnonzero(shared))):
        splits[split] = group_trials(nsd_id, trials)
        n_stimuli = len(splits[split].nsd_id)
        if n_stimuli < LEAST[split]:
            raise ValueError(
                f"the {len(rank)} trials of the sessions that are read show {too_few(split, n_stimuli)}. Add sessions "
                "(nsd.sessions)."
            )
    return splits


@functools.cache
def count_stimuli(path: str | Path, subject_number: int, session_numbers: tuple[int, ...]) -> dict[str, int]:
    """The number of stimuli of each split in these sessions.

    Raises FileNotFoundError, ValueError: see `read_design` and `split_stimuli`.
    """
    splits = split_stimuli(*read_design(path, subject_number, session_numbers))
    return {split: len(stimuli.nsd_id) for split, stimuli in splits.items()}


def copy_stimuli(stimulus_file: str | Path, path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"]) -> None:
    """Copy the images of some stimuli from the stimulus file to an artifact, one at a time.

    Raises FileNotFoundError, ValueError: the file is not HDF5, has no `imgBrick` of RGB images, or lacks an image.
    """
    fix: messages.Sentence = "Download nsd_stimuli.hdf5 again."
    placeholders.refuse(stimulus_file, "NSD's images", "Download nsd_stimuli.hdf5.")
    with hdf5.opening(stimulus_file, fix) as file:
        stored = hdf5_storage.find(file, "imgBrick")
        description = "no such dataset" if stored is None else f"{stored.dtype} {stored.shape}"
        if stored is None or stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[3] != 3:
            raise ValueError(f"{stimulus_file}: imgBrick is {description}; expected uint8 (73000, 425, 425, 3). {fix}")
        hdf5_storage.check_sources(stored)
        written = hdf5_storage.Written(stored)
        with hdf5.create(
            path,
            (len(nsd_id), *stored.shape[1:]),
            np.uint8,
            nsd_id,
            axes=("height", "width", "rgb"),
            flatten=False,
        ) as images:
            for row in np.argsort(nsd_id):  # the file is read front to back
                source = int(nsd_id[row])
                here = (slice(source, source + 1),)
                if not 0 <= source < len(stored) or written.first_hole(here) is not None:
                    raise ValueError(
                        f"{stimulus_file}: imgBrick is {description} and lacks the image of nsd_id {source}. {fix}"
                    )
                try:
                    image = stored[source]
                except (OSError, RuntimeError) as error:
                    system_faults.raise_if_any(error, stimulus_file)
                    raise ValueError(
                        f"{stimulus_file}: imgBrick row {source} cannot be read ({error}). {fix}"
                    ) from error
                if image.min() == image.max():
                    raise ValueError(
                        f"{stimulus_file}: the image of nsd_id {source} is {image.min()} everywhere, as where nothing "
                        f"was written. {fix}"
                    )
                if _is_cut_off(stored, source, image):
                    raise ValueError(
                        f"{stimulus_file}: the image of nsd_id {source} ends in rows of zeros, and the file has zeros "
                        f"alone after it: it was written in part. {fix}"
                    )
                images[row] = image


def _is_cut_off(dataset: h5py.Dataset, row: int, image: np.ndarray) -> bool:
    """Whether an image of a dataset in one piece is the last that was written of it, and not to its end."""
    if dataset.chunks is not None or image[-1].any() or row + 1 >= len(dataset):
        return False
    return not dataset[row + 1].any()
