"""Betas and masks of a dataset whose betas are GLMsingle's own files, or in one of the plain forms."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from brain_diffuser.data import bids_events, custom_files, glmsingle, nifti
from brain_diffuser.data.adapter import NONE


def in_order(paths: Sequence[str | Path]) -> list[Path]:
    """Files of betas in the order of their sessions, session 2 before session 10."""
    return sorted(map(Path, paths), key=lambda path: bids_events.natural(str(path)))


def read_mask(mask: Path | None, first: Path) -> nifti.Mask:
    """The voxels of a mask; without one, the units of betas that are a table, in a line.

    Raises ValueError: `first`, a file of betas, has volumes, and there is no mask.
    """
    if not glmsingle.wrote(first):
        return custom_files.read_mask(mask, custom_files.n_voxels(first))
    with glmsingle.opening(first) as volumes:
        if mask is None and not volumes.is_table:
            raise ValueError(f"{first} has volumes, and mask is none; expected a mask on the same grid")
        return custom_files.read_mask(mask, volumes.shape[0])


def read_betas(
    paths: Sequence[Path], trials: Sequence[custom_files.Trial], selected: Bool[np.ndarray, "x y z"], zscore: str
) -> Iterator[Float32[np.ndarray, "rows voxels"]]:
    """Betas of all trials in order, in blocks.

    Parameters
    ----------
    paths
        One file, or one for each session.
    trials
        The trials, in the order of betas.
    selected : (x, y, z)
        The voxels.
    zscore
        "none", or "session" to z-score each voxel within each session.

    Raises
    ------
    ValueError
        A file is damaged, or has not as many trials as it should.

    Memory
    ------
    A block of trials, or the selected voxels of a session.
    """
    if not glmsingle.wrote(paths[0]):
        yield from custom_files.read_betas(paths, trials, selected, zscore)
        return
    for path, sessions_of_file in custom_files.ranges_by_file(paths, trials):
        with glmsingle.opening(path) as volumes:
            n_trials = sessions_of_file[-1][1].stop
            if volumes.n_trials != n_trials:
                raise ValueError(f"{path} has {volumes.n_trials} trials, the events {n_trials}; expected as many")
            blocks = volumes.blocks(selected)
            if zscore == NONE:
                yield from blocks
                continue
            pieces = custom_files.cut(blocks, [rows for _, rows in sessions_of_file])
            for _, of_session in groupby(pieces, lambda piece: piece[0]):
                yield custom_files.zscored_session(np.concatenate([block for _, block in of_session]))
