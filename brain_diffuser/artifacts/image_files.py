"""Folders of PNG images and their manifests; means and sizes of images."""

import hashlib
import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from brain_diffuser.artifacts import hdf5, system_faults, tables

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

MANIFEST_COLUMNS = ("file", "nsd_id", "sha256")


def file_name(prefix: str, nsd_id: int | np.integer) -> str:
    """The name of a stimulus' image in its folder: a prefix such as nsd, and its id, from 0, in five digits."""
    return f"{prefix}{int(nsd_id):05d}.png"


def write_folder(
    folder: str | Path,
    manifest: str | Path,
    images: Iterable[tuple[int | np.integer, UInt8[np.ndarray, "_ _ 3"]]],
    names: str | Iterable[str],
) -> None:
    """Write one PNG file for each image, in order, and a TSV manifest with the sha256 of every file.

    Images are streamed into a hidden folder that takes the name of `folder` once all are written; an earlier folder
    stays until then. The manifest comes last, so a manifest always describes a complete folder.

    Parameters
    ----------
    folder
        The folder of images.
    manifest
        The table of their names, ids and hashes.
    images : pairs of nsd_id and (height, width, 3)
        The images; at least one.
    names
        A prefix, which the nsd_id follows (see `file_name`), or the name of every file, with its ending.

    Raises
    ------
    ValueError
        A name comes twice, there is no image, or one is not uint8.
    """
    rows: dict[str, tuple[str, int, str]] = {}
    given = None if isinstance(names, str) else iter(names)
    with hdf5.atomic(folder) as partial:
        partial.mkdir(parents=True, exist_ok=True)
        for nsd_id, image in images:
            name = file_name(str(names), nsd_id) if given is None else next(given, None)
            if name is None:
                raise ValueError(f"{Path(folder).name}: nsd_id {nsd_id} has no name; expected as many names as images.")
            if name in rows:
                what = f"nsd_id {nsd_id}" if given is None else f"{name} of nsd_id {nsd_id}"
                raise ValueError(f"{Path(folder).name}: {what} comes twice; expected one image per stimulus.")
            if image.dtype != np.uint8:
                raise ValueError(
                    f"{Path(folder).name}, nsd_id {nsd_id}: the image is {image.dtype}; expected uint8, levels 0 to "
                    "255 of numbers that are known to be finite"
                )
            png = io.BytesIO()
            Image.fromarray(image).save(png, format="PNG")
            (partial / name).write_bytes(png.getvalue())
            rows[name] = (name, int(nsd_id), hashlib.sha256(png.getvalue()).hexdigest())
        if not rows:
            raise ValueError(
                f"{Path(folder).name}: got 0 images; expected one per stimulus. Rerun the stage before it."
            )
    tables.write_tsv(manifest, MANIFEST_COLUMNS, rows.values())


def read_manifest(manifest: str | Path) -> list[tuple[str, int, str]]:
    """(file, nsd_id, sha256) of every image, in order. Raises ValueError: other columns, or names of no images."""
    header, rows = tables.read_tsv(manifest)
    if tuple(header) != MANIFEST_COLUMNS:
        raise ValueError(f"{manifest} has columns {header}; expected {list(MANIFEST_COLUMNS)}. Is this a manifest?")
    named = [dict(zip(header, row, strict=True)) for row in rows]
    ids = tables.numbers(manifest, named, "nsd_id", np.int64).tolist()
    odd = [row["file"] for row in named if not re.fullmatch(r"[^/\\\0]+\.png", row["file"])]
    if odd:
        raise ValueError(f"{manifest} lists {odd[0]!r}; expected names of .png files. {hdf5.rerun(manifest)}")
    return [(row["file"], nsd_id, row["sha256"]) for row, nsd_id in zip(named, ids, strict=True)]


def read_folder(
    folder: str | Path, manifest: str | Path, rows: slice = hdf5.ALL
) -> tuple[Int32[np.ndarray, " stimuli"], UInt8[np.ndarray, "stimuli height width 3"]]:
    """The ids and images that a manifest lists, in its order, or some of them; every file is compared with its sha256.

    Raises FileNotFoundError: a listed image is missing. ValueError: an image was changed, sizes differ, or none is
    listed.
    """
    listed = read_manifest(manifest)[rows]
    fix = f"Rerun the stage that writes {Path(folder).name}."
    images = None
    for row, (name, _, sha256) in enumerate(listed):
        path = Path(folder) / name
        if not system_faults.is_file(path):
            raise FileNotFoundError(
                f"{path} is missing; {Path(manifest).name} lists it among {len(listed)} images. {fix}"
            )
        png = path.read_bytes()
        actual = hashlib.sha256(png).hexdigest()
        if actual != sha256:
            raise ValueError(
                f"{path} has sha256 {actual[:12]}..., {Path(manifest).name} says {sha256[:12]}...; the image changed. "
                f"{fix}"
            )
        try:
            image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} is no image that can be read ({error}). {fix}") from error
        if images is None:
            images = np.empty((len(listed), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"{path} is {image.shape[:2]} pixels, the images before it {images.shape[1:3]}; expected one size. "
                f"{fix}"
            )
        images[row] = image
    if images is None:
        raise ValueError(f"{manifest} lists 0 images; expected one per stimulus. Rerun the stage that writes it.")
    return np.array([nsd_id for _, nsd_id, _ in listed], np.int32), images


def mean(images: Iterable[UInt8[np.ndarray, "height width 3"]]) -> UInt8[np.ndarray, "height width 3"]:
    """The mean of images, which are read one at a time.

    Raises ValueError: there is no image.
    """
    total, n_images = np.zeros(()), 0
    for image in images:
        total, n_images = total + image, n_images + 1
    if not n_images:
        raise ValueError("the mean of 0 images is none; expected at least 1 training stimulus")
    return np.round(total / n_images).astype(np.uint8)


def resize(
    images: UInt8[np.ndarray, "images height width 3"], size: int | tuple[int, int], resample: str = "bicubic"
) -> UInt8[np.ndarray, "images new_height new_width 3"]:
    """Images resized to `size` pixels without regard to proportions: a number means a square, a pair height and width.

    The filter is PIL's, which widens its kernel when it shrinks (antialiasing); torch's and OpenCV's differ and change
    every metric.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if images.shape[1:3] == (height, width):
        return images.copy()
    resized = np.empty((len(images), height, width, 3), np.uint8)
    for row, image in enumerate(images):
        resized[row] = np.asarray(Image.fromarray(image).resize((width, height), FILTERS[resample]))
    return resized
