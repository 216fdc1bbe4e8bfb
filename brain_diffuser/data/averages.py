"""Betas averaged over the repeats of a stimulus, their noise ceiling, and the artifacts that hold them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int, Shaped

from brain_diffuser.artifacts import finite, hdf5, messages
from brain_diffuser.data import nifti, stimulus_table

logger = logging.getLogger(__name__)


def average_trials(
    blocks: Iterable[Shaped[np.ndarray, "block voxels"]],
    n_trials: int,
    n_voxels: int,
    splits: Mapping[str, stimulus_table.Stimuli],
    stored_per_unit: int = 1,
) -> tuple[dict[str, hdf5.StimulusArray], Float32[np.ndarray, " voxels"]]:
    """Betas of each split, averaged over the repeats of a stimulus, and ncsnr, from one pass over blocks of trials.

    Sums of stored integers are exact, and so are sums of floats in float64 for three repeats; each is divided once, so
    a mean does not depend on the file format or on the order of blocks.

    Parameters
    ----------
    blocks : arrays (block, voxels)
        All trials in order.
    n_trials
        The number of all trials. Trials of no stimulus are left out.
    n_voxels
        The number of voxels.
    splits
        The stimuli of each split and their trials.
    stored_per_unit
        The stored numbers are divided by this.

    Returns
    -------
    betas : {split: (stimuli, voxels)}
        Averaged betas, float32.
    ncsnr : (voxels,)
        The signal-to-noise ratio of each voxel: the standard deviation of what the repeats of a stimulus share, over
        that of what they do not share. 0 if they share nothing, NaN if nothing was repeated.

    Raises
    ------
    ValueError
        The mean of a stimulus is infinite in float32. NaN, which was not measured, passes.

    Memory
    ------
    A block, and 4 bytes (8 for stored floats) per stimulus and voxel; these sums become the means in place.
    """
    trials = [trials for stimuli in splits.values() for trials in stimuli.trials]
    stimulus = np.full(n_trials, -1, np.intp)
    for row, repeats in enumerate(trials):
        stimulus[repeats] = row
    sums = np.zeros((len(trials), n_voxels), np.int32)
    squares = np.zeros(n_voxels)
    done = 0
    for betas in blocks:
        if betas.dtype.kind == "f" and sums.dtype.kind == "i":
            sums = sums.astype(np.float64)
        for trial, row in enumerate(stimulus[done : done + len(betas)]):
            if row >= 0:
                sums[row] += betas[trial]
                squares += np.square(betas[trial], dtype=np.float64)
        done += len(betas)
    assert done == n_trials
    ncsnr = _signal_to_noise(sums, squares, np.array([len(repeats) for repeats in trials]))
    means = sums.view(np.float32)[:, :n_voxels]  # the same memory: a row of means overwrites its own sums only
    too_large = []
    with np.errstate(over="ignore"):
        for row, repeats in enumerate(trials):
            means[row] = sums[row] / (stored_per_unit * len(repeats))
            if np.isinf(means[row]).any():
                too_large.append(row)
    if too_large:
        fix: messages.Sentence = "Check the betas of the stimulus' trials: float32 ends at 3.4e38."
        wrong = finite.NotFinite("the mean over a stimulus' trials", too_large, np.inf, fix)
        raise wrong.of("betas", stimulus_table.all_ids(splits))
    ends = np.cumsum([len(stimuli.nsd_id) for stimuli in splits.values()])
    betas_of = {
        split: hdf5.StimulusArray(means[end - len(stimuli.nsd_id) : end], stimuli.nsd_id)
        for (split, stimuli), end in zip(splits.items(), ends, strict=True)
    }
    return betas_of, ncsnr


def noise_ceiling(ncsnr: Float32[np.ndarray, " voxels"], repeats: float) -> Float32[np.ndarray, " voxels"]:
    """The share of the variance of betas, averaged over `repeats`, that a perfect model would explain.

    1 without any noise (ncsnr is infinite), NaN where nothing was repeated.

    Source: Allen et al. 2022, Nature Neuroscience 25, 116-126, methods.
    """
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(ncsnr), np.float32(1), ncsnr**2 / (ncsnr**2 + np.float32(1 / repeats)))


def ceiling_of_test(rois: str | Path, stimuli: str | Path) -> tuple[Float32[np.ndarray, " voxels"], float]:
    """The noise ceiling of each voxel for the averaged betas of the test stimuli, and the mean number of repeats."""
    repeats = float(np.mean([len(trials) for trials in stimulus_table.read(stimuli)["test"].trials]))
    with hdf5.opening(rois) as file:
        return noise_ceiling(np.asarray(file["ncsnr"]), repeats), repeats


def _signal_to_noise(
    sums: np.ndarray, squares: Float64[np.ndarray, " voxels"], n_repeats: Int[np.ndarray, " stimuli"]
) -> Float32[np.ndarray, " voxels"]:
    """ncsnr from sums over the repeats of each stimulus and sums of squares over all trials.

    Differs from NSD's own: betas are not z-scored within sessions first, so drift counts as noise, and stimuli with
    fewer than three repeats count too.
    """
    n_trials, n_stimuli = int(n_repeats.sum()), len(n_repeats)
    if n_trials == n_stimuli:  # nothing was repeated: sums of floats would leave rounding residues over 0
        return np.full(len(squares), np.nan, np.float32)
    between, total = np.zeros(len(squares)), np.zeros(len(squares))
    for row, n in zip(sums, n_repeats, strict=True):
        between += np.square(row, dtype=np.float64) / n
        total += row
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = (squares - between) / np.float64(n_trials - n_stimuli)
        signal = (squares - total**2 / n_trials) / (n_trials - 1) - noise
        return np.sqrt(np.maximum(signal, 0) / noise).astype(np.float32)


def handle_constant_voxels(
    betas: Mapping[str, hdf5.StimulusArray], mask: nifti.Mask, constant_voxels: str
) -> tuple[dict[str, hdf5.StimulusArray], nifti.Mask]:
    """Betas and mask without voxels that are constant over the train stimuli, for which no z-score exists.

    Voxels that were not measured (NaN) for a stimulus of either split count as such. `constant_voxels` is "error",
    which raises if there is such a voxel, or "drop".

    Raises ValueError: there is a constant voxel, no voxel varies, or `constant_voxels` is another word.
    """
    if constant_voxels not in ("error", "drop"):
        raise ValueError(f'nsd.constant_voxels must be "error" or "drop", got {constant_voxels!r}')
    train = betas["train"].values
    lowest, highest = train.min(0), train.max(0)
    test = betas["test"].values
    measured = np.isfinite([lowest, highest, test.min(0), test.max(0)]).all(0)
    varies = measured & (highest > lowest)
    constant = np.flatnonzero(~varies)
    if not len(constant):
        return dict(betas), mask
    voxel = tuple(int(index) for index in np.argwhere(mask.selected)[constant[0]])
    summary: messages.Sentence = (
        f"{mask.path} selects {len(constant)} of {len(varies)} voxels whose betas are constant over {len(train)} train "
        f"stimuli{'' if measured.all() else ' or were not measured (NaN)'}; the first is column {constant[0]}, voxel "
        f"{voxel}"
    )
    if constant_voxels == "error" or not varies.any():
        raise ValueError(f"{summary}. Set nsd.constant_voxels: drop to leave such voxels out, or check the mask.")
    logger.warning("%s; dropped", summary)
    selected = mask.selected.copy()
    selected[mask.selected] = varies
    kept = {split: rows._replace(values=rows.values[:, varies]) for split, rows in betas.items()}
    return kept, mask._replace(selected=selected)


def write(
    outputs: Any,
    betas: Mapping[str, hdf5.StimulusArray],
    ncsnr: Float32[np.ndarray, " voxels"],
    mask: nifti.Mask,
    constant_voxels: str,
    unit: str,
    atlases: Sequence[str] = (),
) -> None:
    """Write the averaged betas of both splits, and where their voxels lie.

    Parameters
    ----------
    outputs
        The paths `train`, `test` and `rois`.
    betas : {split: (stimuli, voxels)}
        Averaged betas.
    ncsnr : (voxels,)
        The signal-to-noise ratio of each voxel.
    mask
        The voxels, in the order of the columns of `betas`.
    constant_voxels
        "error" or "drop", as in `handle_constant_voxels`.
    unit
        The unit of `betas`.
    atlases
        Volumes {atlas}.nii.gz whose labels are kept beside the voxels.
    """
    betas, kept = handle_constant_voxels(betas, mask, constant_voxels)
    labels = nifti.read_labels(atlases, kept)
    nifti.write_rois(outputs.rois, labels, kept, ncsnr[kept.selected[mask.selected]])
    for path, rows in ((outputs.train, betas["train"]), (outputs.test, betas["test"])):
        hdf5.save(path, *rows, axes=("voxels",), unit=unit)
