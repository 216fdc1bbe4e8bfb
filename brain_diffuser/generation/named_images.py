"""A set of images once more, each under the name of its stimulus' own file."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from brain_diffuser.artifacts import image_files
from brain_diffuser.data import adapter, stimulus_names

AT_A_TIME = 16


def write(
    images: str | Path,
    manifest: str | Path,
    stim_files: str | Path,
    out: str | Path,
    out_manifest: str | Path,
) -> None:
    """Write a folder of images again, under the names of the stimuli.

    Parameters
    ----------
    images, manifest
        The folder of images and its table.
    stim_files
        The table of the names of the stimuli's files.
    out, out_manifest
        The new folder and its table.

    Raises
    ------
    ValueError
        An image is missing or was changed, see `image_files.read_folder`.
    """
    nsd_id = [number for _, number, _ in image_files.read_manifest(manifest)]
    names = file_names(nsd_id, stimulus_names.read(stim_files))
    image_files.write_folder(out, out_manifest, _read(images, manifest, len(nsd_id)), names)


def file_names(nsd_id: Sequence[int], stim_files: Mapping[int, str]) -> list[str]:
    """The names of images: castles/castle01.jpg is castles_castle01.png.

    Names that only a folder, an ending or the size of letters tells apart get the id: castle01_stim00007.png.
    """
    plain = ["_".join(PurePosixPath(stim_files[number]).with_suffix("").parts) for number in nsd_id]
    n_times = Counter(name.casefold() for name in plain)
    return [
        f"{name}.png" if n_times[name.casefold()] == 1 else f"{name}_{image_files.file_name(adapter.OWN_FILES, number)}"
        for name, number in zip(plain, nsd_id, strict=True)
    ]


def _read(images: str | Path, manifest: str | Path, n_images: int) -> Iterator[tuple[int, np.ndarray]]:
    """The id and the pixels of every image, some at a time."""
    for first in range(0, n_images, AT_A_TIME):
        ids, pixels = image_files.read_folder(images, manifest, slice(first, first + AT_A_TIME))
        yield from zip(ids.tolist(), pixels, strict=True)
