"""Training data of learned decoders: betas and features of subjects, held-out stimuli, and batches."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, Shaped

from brain_diffuser.artifacts import hdf5, seeds, system_faults

BAND = 64  # rows of features that are read at a time
ROUNDING = 1e-12  # a variance below this share of the mean square counts as 0


class Source(NamedTuple):
    """Training data of one subject; `fit` are the rows that are learned from, `held_out` all others."""

    betas: Float32[np.ndarray, "stimuli voxels"]
    features: Shaped[np.ndarray, "stimuli features"]
    nsd_id: Int32[np.ndarray, " stimuli"]
    fit: Int[np.ndarray, " fit"]
    held_out: Int[np.ndarray, " held_out"]


class Target(NamedTuple):
    """Shape, axes and unit of the feature that is learned, as its file has them."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    unit: str


def read_source(
    betas_path: str | Path, features_path: str | Path, scratch: str | Path, *, holdout: float, seed: int
) -> tuple[Source, Target]:
    """Read one subject's betas into memory, and copy its features into an unnamed file that is read row by row.

    Stored chunks are whole columns; the copy has whole rows, from which a batch is read 20 times faster.

    Parameters
    ----------
    betas_path, features_path : path
        HDF5 of repeat-averaged betas and of features, of the same stimuli.
    scratch : path
        Folder of the copy, which has the features' own precision.
    holdout : float
        Share of the stimuli that are held out, 0 to below 1.
    seed : int
        Of the choice of these.

    Raises
    ------
    ValueError
        The files have other stimuli, numbers that are not finite, or what `hold_out` raises.

    Memory: the betas.
    """
    betas = hdf5.load(betas_path)
    with hdf5.reading(features_path) as (values, nsd_id):
        hdf5.check_aligned(betas_path, betas.nsd_id, features_path, nsd_id)
        Path(scratch).mkdir(parents=True, exist_ok=True)
        with system_faults.named(scratch), tempfile.TemporaryFile(dir=scratch) as file:
            for start in range(0, len(nsd_id), BAND):  # not through the map: there, a full disk would end the process
                band = values[start : start + BAND]
                hdf5.check_finite(features_path, band, nsd_id[start : start + BAND])
                file.write(band.tobytes())
            file.flush()
            features = np.memmap(file, values.dtype, "r+", shape=values.shape)
        about = hdf5.about(values)
        target = Target(tuple(about["shape"]), tuple(about["axes"]), about["unit"])
    held_out = hold_out(nsd_id, holdout, seed)
    rows = np.arange(len(nsd_id))
    return Source(
        betas.values.astype(np.float32, copy=False), features, nsd_id, rows[~held_out], rows[held_out]
    ), target


def hold_out(nsd_id: Int32[np.ndarray, " stimuli"], share: float, seed: int) -> Bool[np.ndarray, " stimuli"]:
    """Which stimuli are held out, about a share of them; a stimulus that is held out for a subject is so for all.

    Raises ValueError: fewer than 2 are held out, or fewer than 2 are left.
    """
    is_held_out = seeds.uniform(seed, nsd_id, "learned.held_out", (1,))[:, 0].numpy() < share
    if not 2 <= is_held_out.sum() <= len(is_held_out) - 2:
        raise ValueError(
            f"learned.holdout is {share}, which holds out {is_held_out.sum()} of {len(is_held_out)} stimuli; expected "
            "at least 2 held out and 2 left, so change it"
        )
    return is_held_out


def statistics(
    features: Sequence[Shaped[np.ndarray, "_ features"]],
) -> tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]:
    """Mean and std (ddof 0) of every column over the rows of all arrays, read in bands."""
    n_rows, total, squares = sum(map(len, features)), 0.0, 0.0
    for array in features:
        for start in range(0, len(array), BAND):
            band = array[start : start + BAND].astype(np.float64)
            total, squares = total + band.sum(0), squares + np.einsum("ij,ij->j", band, band)
    return mean_and_std(n_rows, np.asarray(total), np.asarray(squares))


def mean_and_std(n: int, total: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std of n numbers from their sum and the sum of their squares; a std within rounding is 0."""
    mean, square = total / n, squares / n
    variance = np.where(square - mean**2 > ROUNDING * square, square - mean**2, 0)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def batches(
    fit: Mapping[str, Int[np.ndarray, " _"]], batch_size: int, steps: int, seed: int, epoch: int
) -> list[dict[str, Any]]:
    """The rows of each subject, sorted, for every step of an epoch.

    A batch has equally many stimuli of every subject, each once. All stimuli of a subject are passed through as often
    as needed, each time in another order; the rows that are left at the end of a pass are not used in it.

    Parameters
    ----------
    fit : {subject: rows}
        The rows to learn from.
    batch_size : int
        Stimuli of all subjects together.
    steps : int
        How many batches.
    seed, epoch : int
        Of the order.
    """
    planned: list[dict[str, Any]] = [{} for _ in range(steps)]
    for index, (subject, rows) in enumerate(fit.items()):
        size = max(1, min(batch_size // len(fit), len(rows)))
        rng, parts = np.random.default_rng((seed, epoch, index)), []
        while len(parts) < steps:
            shuffled = rng.permutation(rows)
            parts += [np.sort(shuffled[start : start + size]) for start in range(0, len(rows) - size + 1, size)]
        for step, part in zip(planned, parts, strict=False):
            step[subject] = part
    return planned
