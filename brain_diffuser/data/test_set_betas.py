"""Betas of a test set, z-scored by themselves and written in the unit of the betas that the decoder is trained on.

The decoder z-scores its inputs by mean and standard deviation of the training stimuli. Those of another experiment
differ from these, and with them the decoder gives nearly the same prediction for all targets. So each voxel is z-scored
within the experiment, and what is written is mean + standard deviation times that, with the moments of the training
stimuli: the decoder's own z-score gives it back.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32, Float64

from brain_diffuser.artifacts import hdf5, messages, system_faults
from brain_diffuser.data import (
    averages,
    hdf5_storage,
    nifti,
    nsd_sessions,
    placeholders,
    stimulus_table,
    trial_betas,
    units,
)

logger = logging.getLogger(__name__)

FIX: messages.Sentence = "Download it again."
VOXELS = 2048  # of the training betas at a time


def write(
    path: str | Path,
    betas: str | Path,
    rois: str | Path,
    betas_train: str | Path,
    stimuli: stimulus_table.Stimuli,
    runs: Sequence[str],
    *,
    zscore: str,
    name: str,
    unit: str = units.AUTO,
) -> None:
    """Write the betas of a test set, averaged over the trials of each stimulus, for the subject's voxels.

    Parameters
    ----------
    path : path
        The artifact.
    betas : path
        All trials of the experiment, NSD's HDF5 or NIfTI.
    rois : path
        data/rois.h5 of the subject, which says where the voxels of the decoder lie.
    betas_train : path
        data/betas_train.h5 of the subject.
    stimuli : Stimuli
        The stimuli, with the rows of `betas` that show each.
    runs : labels
        The run or the condition of each row of `betas`.
    zscore : str
        "none"; "session", by all rows; or "run" or "condition", by the rows of one label. Rows of no target count, too.
    name : str
        Of the test set, in messages.
    unit : str
        Of the stored numbers, one of `units.STORED`; only without a z-score.

    Raises
    ------
    ValueError
        The file is damaged, or has another number of trials or another grid; or without a z-score the unit differs from
        that of the training betas, or a number was not measured.

    Memory
    ------
    The selected voxels of all rows in float32, 45 MB of NSD, and as many of their means.
    """
    mask = read_mask(rois)
    values = read(betas, len(runs), mask)
    is_scored = zscore != "none"
    groups = ["session"] * len(runs) if zscore == "session" else list(runs)
    if is_scored:
        session = trial_betas.Session(Path(betas), groups)
        trial_betas.zscore_in_place(values, session, np.zeros(len(runs), bool), "run")
    lacking = np.isnan(values).any(0)
    if lacking.any():
        if not is_scored:
            raise ValueError(
                f"{betas} has {np.count_nonzero(lacking)} voxels of the decoder that are NaN in some trials; without a "
                f"z-score nothing can stand for them, so set test_sets.{name}.zscore to session"
            )
        logger.warning("%s: %d voxels are NaN in some trials, and count as their mean", betas, lacking.sum())
        np.nan_to_num(values, copy=False, nan=0.0, posinf=np.inf, neginf=-np.inf)
    per_unit, train_unit = 1, _unit(betas_train)
    if not is_scored:
        per_unit = _per_unit(betas, values, train_unit, unit, name)
    means, _ = averages.average_trials(iter([values]), len(runs), values.shape[1], {"test": stimuli}, per_unit)
    found = means["test"].values
    if is_scored:
        mean, std = moments(betas_train, values.shape[1])
        found = (mean + std * found).astype(np.float32)
    hdf5.save(path, found, stimuli.nsd_id, axes=("voxels",), unit=train_unit, attrs={"zscore": zscore})


def read_mask(rois: str | Path) -> nifti.Mask:
    """The voxels of a subject's betas."""
    with hdf5.opening(rois) as file:
        shape, voxel = (np.asarray(file[name]) for name in ("shape", "voxel"))
        selected = np.zeros(math.prod(shape.tolist()), bool)
        selected[voxel] = True
        selected = selected.reshape(shape.tolist())
        return nifti.Mask(Path(rois), selected, np.asarray(file["affine"], np.float64))


def moments(
    betas_train: str | Path, n_voxels: int
) -> tuple[Float64[np.ndarray, " voxels"], Float64[np.ndarray, " voxels"]]:
    """Mean and standard deviation (ddof 1) of each voxel over the training stimuli, by which decoders z-score.

    Raises ValueError: they have another number of voxels.
    """
    with hdf5.reading(betas_train, by_columns=True) as (values, _):
        if values.shape[1] != n_voxels:
            raise ValueError(
                f"{betas_train} has {values.shape[1]} voxels, the subject's rois.h5 {n_voxels}. "
                f"{hdf5.rerun(betas_train)}"
            )
        mean, std = np.empty((2, n_voxels))
        for start in range(0, n_voxels, VOXELS):
            block = values[:, start : start + VOXELS].astype(np.float64)
            mean[start : start + VOXELS], std[start : start + VOXELS] = block.mean(0), block.std(0, ddof=1)
    return mean, std


def read(path: str | Path, n_trials: int, mask: nifti.Mask) -> Float32[np.ndarray, "trials voxels"]:
    """The stored numbers of each trial and voxel of the mask; both formats of a file give the same.

    Raises
    ------
    ValueError
        The file is damaged, has another number of trials, lies on another grid, stores no numbers, has infinite values,
        or trials that are one number everywhere.
    """
    path = Path(path)
    if path.suffix != ".hdf5":
        values = np.empty((n_trials, int(mask.selected.sum())), np.float32)
        rules = trial_betas.Rules(stored_per_unit=300, nan_voxels="zero", zscore="none", fix=FIX)
        trial_betas.read(trial_betas.Session(path, [""] * n_trials), mask, rules, values)
        return values
    values = _read_hdf5(path, n_trials, mask)
    for trial, row in enumerate(values):
        trial_betas.check_trial(path, trial, row, mask)
    return values


def _read_hdf5(path: Path, n_trials: int, mask: nifti.Mask) -> Float32[np.ndarray, "trials voxels"]:
    """Read HDF5 chunk by chunk, only chunks with voxels of the mask."""
    placeholders.refuse(path, "betas", FIX)
    with hdf5.opening(path, FIX) as file:
        stored = hdf5_storage.find(file, "betas")
        if stored is None or stored.ndim != 4:
            raise ValueError(f"{path} lacks a dataset betas of (trials, z, y, x). {FIX}")
        if len(stored) != n_trials:
            raise ValueError(f"{path} has {len(stored)} trials; expected {n_trials}. {FIX}")
        problem = nifti.grid_problem(path, stored.shape[:0:-1], mask)
        if problem:
            raise ValueError(f"{problem}. Is it another subject's or resolution's?")
        if stored.dtype.name not in nsd_sessions.DTYPES:
            raise ValueError(f"{path} stores {stored.dtype.name}; expected one of {', '.join(nsd_sessions.DTYPES)}.")
        hdf5_storage.check_sources(stored)
        values = np.empty((n_trials, int(mask.selected.sum())), np.float32)
        cell = list(stored.chunks[1:] if stored.chunks else stored.shape[1:])
        written = hdf5_storage.Written(stored)
        try:
            for columns, z_y_x, inside in nsd_sessions.cells(mask.selected, cell):
                hole = written.first_hole((slice(None), *z_y_x))
                if hole is not None:
                    raise ValueError(
                        f"{path}: the chunk of betas at trial {hole[0]} (from 0), voxel {hole[:0:-1]} was never "
                        f"written. {FIX}"
                    )
                values[:, columns] = _of_cell(stored, z_y_x, inside)
        except (OSError, RuntimeError) as error:
            system_faults.raise_if_any(error, path)
            raise ValueError(f"{path} cannot be read ({error}). {FIX}") from error
    return values


def _of_cell(stored: h5py.Dataset, z_y_x: tuple[slice, ...], inside: np.ndarray) -> np.ndarray:
    """The voxels of a cell, a part of the trials at a time."""
    depth = stored.chunks[0] if stored.chunks else 1
    n_bytes = depth * stored.dtype.itemsize * int(np.prod([each.stop - each.start for each in z_y_x]))
    step = depth * max(1, nsd_sessions.BLOCK_BYTES // n_bytes)
    parts = range(0, len(stored), step)
    return np.concatenate([stored[(slice(start, start + step), *z_y_x)][(slice(None), *inside)] for start in parts])


def _unit(path: str | Path) -> str:
    with hdf5.reading(path) as (values, _):
        return hdf5.about(values)["unit"]


def _per_unit(path: str | Path, values: np.ndarray, train_unit: str, unit: str, name: str) -> int:
    """What stored numbers are divided by, so that they are in the unit of the training betas."""
    whole = values.astype(np.int16) if (values == np.rint(values)).all() else values
    stored = units.scale_of(path, whole, unit).stored
    if stored.unit != train_unit:
        raise ValueError(
            f"test_sets.{name}.zscore is none, and {path} is in {stored.unit}, the training betas in {train_unit}; "
            f"expected one unit, so set test_sets.{name}.zscore to session"
        )
    return stored.per_unit
