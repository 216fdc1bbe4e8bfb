"""Images of test sets, made square and as large as NSD's stimuli."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int, Int32, UInt8
from PIL import Image

from brain_diffuser.artifacts import hdf5, image_files, system_faults
from brain_diffuser.data import hdf5_storage, placeholders
from brain_diffuser.data.test_set import GREY, SIDE

AGAIN = "Download it again."


def read(path: str | Path, fill: float = 1.0) -> UInt8[np.ndarray, "side side 3"]:
    """An image file on grey, square, `fill` of its side wide.

    `fill` below 1 leaves a grey border, for targets that were shown smaller than NSD's images.

    Raises FileNotFoundError, ValueError: the file is no image.
    """
    placeholders.refuse(path, "the image of a target", AGAIN)
    try:
        with Image.open(path) as image:
            rgba = np.asarray(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} is no image that can be read ({error}). {AGAIN}") from error
    alpha = rgba[..., 3:].astype(np.float32) / 255
    rgb = np.rint(rgba[..., :3] * alpha + GREY * (1 - alpha)).astype(np.uint8)
    inner = max(1, round(fill * SIDE))
    border = (SIDE - inner) // 2
    framed = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    framed[border : border + inner, border : border + inner] = image_files.resize(squared(rgb, "pad")[None], inner)[0]
    return framed


def squared(image: UInt8[np.ndarray, "height width 3"], crop: str) -> UInt8[np.ndarray, "side side 3"]:
    """The central square of an image ("square"), or the image in the middle of a grey square ("pad")."""
    height, width = image.shape[:2]
    side = min(height, width) if crop == "square" else max(height, width)
    top, left = abs(height - side) // 2, abs(width - side) // 2
    if crop == "square":
        return image[top : top + side, left : left + side]
    frame = np.full((side, side, 3), GREY, np.uint8)
    frame[top : top + height, left : left + width] = image
    return frame


def copy_bricks(
    paths: Sequence[str | Path],
    sizes: Sequence[int],
    rows: Int[np.ndarray, " stimuli"],
    nsd_id: Int32[np.ndarray, " stimuli"],
    out_path: str | Path,
    crop: str,
) -> None:
    """Copy images from several stimulus files, one after the other, to an artifact, one image at a time.

    Parameters
    ----------
    paths : paths
        HDF5 files with `imgBrick` (images, height, width, 3), uint8.
    sizes : ints
        The images of each.
    rows : (stimuli,)
        Places of the images, from 0 through all files.
    nsd_id : (stimuli,)
        Their ids.
    out_path : path
        The artifact.
    crop : str
        As of `squared`.

    Raises
    ------
    FileNotFoundError, ValueError
        A file is not HDF5, has no `imgBrick` of as many RGB images, or lacks one of them.
    """
    with ExitStack() as stack:
        bricks = [_brick(stack, path, size) for path, size in zip(paths, sizes, strict=True)]
        written = [hdf5_storage.Written(brick) for brick in bricks]
        starts = np.cumsum([0, *sizes])
        options = {"axes": ("height", "width", "rgb"), "flatten": False}
        with hdf5.create(out_path, (len(rows), SIDE, SIDE, 3), np.uint8, nsd_id, **options) as images:
            for place, row in enumerate(rows.tolist()):
                part = int(np.searchsorted(starts, row, side="right")) - 1
                here = row - int(starts[part])
                image = _image(paths[part], bricks[part], written[part], here)
                images[place] = image_files.resize(squared(image, crop)[None], SIDE)[0]


def _brick(stack: ExitStack, path: str | Path, size: int) -> h5py.Dataset:
    """The images of a file, opened."""
    placeholders.refuse(path, "images of NSD-synthetic", AGAIN)
    brick = hdf5_storage.find(stack.enter_context(hdf5.opening(path, AGAIN)), "imgBrick")
    shape = None if brick is None else (*brick.shape[:1], *brick.shape[3:])
    if brick is None or brick.dtype != np.uint8 or shape != (size, 3):
        found = "no such dataset" if brick is None else f"{brick.dtype} {brick.shape}"
        raise ValueError(f"{path}: imgBrick is {found}; expected uint8 ({size}, 714, 1360, 3). {AGAIN}")
    hdf5_storage.check_sources(brick)
    return brick


def _image(path: str | Path, brick: h5py.Dataset, written: hdf5_storage.Written, row: int) -> np.ndarray:
    """An image of a file. Raises ValueError: it was never written, or cannot be read."""
    if written.first_hole((slice(row, row + 1),)) is not None:
        raise ValueError(f"{path}: imgBrick row {row} was never written. {AGAIN}")
    try:
        return brick[row]
    except (OSError, RuntimeError) as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path}: imgBrick row {row} cannot be read ({error}). {AGAIN}") from error
