"""Sets of images (reconstructions, stage-1 reconstructions, references, ...), aligned with their stimuli."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from brain_diffuser.artifacts import finite, hdf5, image_files, shards


class AlignedSets(NamedTuple):
    """Stimuli and several sets of images of them, all in one order."""

    nsd_id: Int32[np.ndarray, " stimuli"]
    stimuli: UInt8[np.ndarray, "stimuli height width 3"]
    sets: list[UInt8[np.ndarray, "stimuli _ _ 3"]]


def load_aligned(
    stimuli: str | Path, folders: Sequence[str | Path], manifests: Sequence[str | Path], rows: slice = hdf5.ALL
) -> AlignedSets:
    """The stimuli and the images of some folders, or some rows of them.

    Parameters
    ----------
    stimuli : path
        The array of stimuli, in their own size.
    folders, manifests : sequences of paths
        Folders of images, and the manifest of each.
    rows : slice
        Which stimuli, by their place in the array.

    Raises
    ------
    ValueError
        A folder has images of other stimuli, or in another order.
    """
    images = [image_files.read_folder(*pair, rows) for pair in zip(folders, manifests, strict=True)]
    with hdf5.reading(stimuli) as (values, nsd_id):
        for folder, (ids, _) in zip(folders, images, strict=True):
            hdf5.check_aligned(stimuli, nsd_id[rows], folder, ids)
        return AlignedSets(nsd_id[rows], values[rows], [each for _, each in images])


def save_features(
    rows: slice,
    out_path: str | Path,
    load: Callable[[], Any],
    stimuli: str | Path,
    folder: str | Path,
    manifest: str | Path,
) -> None:
    """Write a shard of an evaluation network's features of stimuli and of a folder's images, side by side.

    Parameters
    ----------
    rows : slice
        Which stimuli, by their place in the array.
    out_path : path
        The shard.
    load : () -> registry.EvaluationNetwork
    stimuli, folder, manifest : paths
        As of `load_aligned`.
    """
    network = load()
    nsd_id, values, (images,) = load_aligned(stimuli, [folder], [manifest], rows)
    parts = []
    for stage, pixels in (("features of the stimulus", values), (f"features of {folder}", images)):
        with finite.naming(stage, nsd_id):
            parts.append(network.features(pixels))
    shards.save_parts(out_path, parts, nsd_id)
