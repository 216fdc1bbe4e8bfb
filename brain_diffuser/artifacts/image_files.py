"""Folders of PNG images named by stimulus, their manifest, resizing, and contact sheets."""

import csv
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from brain_diffuser.artifacts import hdf5

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


MANIFEST_COLUMNS = ("file", "nsd_id", "sha256")


def file_name(nsd_id: int | np.integer) -> str:
    """Name of a stimulus' image inside its folder; 0-based id, five digits."""
    return f"nsd{int(nsd_id):05d}.png"


def write_folder(
    folder: str | Path,
    manifest: str | Path,
    images: Iterable[tuple[int | np.integer, UInt8[np.ndarray, "_ _ 3"]]],
    names: Iterable[str] | None = None,
) -> None:
    """Write one PNG per (nsd_id, image), in order, and a TSV manifest with one sha256 per file.

    Without `names` (with the ending) a file is named by its nsd_id.

    Images are streamed into a hidden sibling that takes the folder's name once all are there; an earlier folder stays
    until then. The manifest comes last, so a manifest always describes a complete folder.

    Raises ValueError: an nsd_id, or a name, comes twice; no image at all.
    """
    rows: dict[str, tuple[str, int, str]] = {}
    given = iter(names) if names is not None else None
    with hdf5.atomic(folder) as partial:
        partial.mkdir(parents=True, exist_ok=True)
        for nsd_id, image in images:
            name = next(given) if given else file_name(nsd_id)
            if name in rows:
                found = f"{name} of nsd_id {nsd_id}" if given else f"nsd_id {nsd_id}"
                raise ValueError(f"{Path(folder).name}: {found} comes twice; expected one image per stimulus.")
            png = io.BytesIO()
            Image.fromarray(image).save(png, format="PNG")
            (partial / name).write_bytes(png.getvalue())
            rows[name] = (name, int(nsd_id), hashlib.sha256(png.getvalue()).hexdigest())
        if not rows:
            raise ValueError(
                f"{Path(folder).name}: got 0 images; expected one per stimulus. Rerun the stage before it."
            )
    with hdf5.atomic(manifest) as partial, open(partial, "w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(MANIFEST_COLUMNS)
        writer.writerows(rows.values())


def read_manifest(manifest: str | Path) -> list[tuple[str, int, str]]:
    """(file, nsd_id, sha256) of every image, in order."""
    with open(manifest, newline="") as stream:
        header, *rows = csv.reader(stream, delimiter="\t")
    if tuple(header) != MANIFEST_COLUMNS:
        raise ValueError(f"{manifest} has columns {header}; expected {list(MANIFEST_COLUMNS)}. Is this a manifest?")
    return [(name, int(nsd_id), digest) for name, nsd_id, digest in rows]


def read_folder(
    folder: str | Path, manifest: str | Path, rows: slice = hdf5.ALL
) -> tuple[Int32[np.ndarray, " stimuli"], UInt8[np.ndarray, "stimuli height width 3"]]:
    """The ids and images that the manifest lists, in its order, or some; each file is checked against its sha256.

    Raises FileNotFoundError: a listed image is missing. ValueError: an image was changed, or sizes differ.
    """
    listed = read_manifest(manifest)[rows]
    images = None
    for row, (name, _, digest) in enumerate(listed):
        path = Path(folder) / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing; {Path(manifest).name} lists it among {len(listed)} images. "
                f"Rerun the stage that writes {Path(folder).name}."
            )
        png = path.read_bytes()
        found = hashlib.sha256(png).hexdigest()
        if found != digest:
            raise ValueError(
                f"{path} has sha256 {found[:12]}..., {Path(manifest).name} says {digest[:12]}...; the image changed. "
                f"Rerun the stage that writes {Path(folder).name}."
            )
        image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        if images is None:
            images = np.empty((len(listed), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"{path} is {image.shape[:2]} pixels, the images before it {images.shape[1:3]}; expected one size. "
                f"Rerun the stage that writes {Path(folder).name}."
            )
        images[row] = image
    if images is None:
        raise ValueError(f"{manifest} lists 0 images; expected one per stimulus. Rerun the stage that writes it.")
    return np.array([nsd_id for _, nsd_id, _ in listed], np.int32), images


def mean(images: Iterable[UInt8[np.ndarray, "height width 3"]]) -> UInt8[np.ndarray, "height width 3"]:
    """The mean of images, taken one at a time."""
    total, n_images = np.zeros(()), 0
    for image in images:
        total, n_images = total + image, n_images + 1
    return np.round(total / n_images).astype(np.uint8)


def resize(
    images: UInt8[np.ndarray, "images height width 3"], size: int | tuple[int, int], resample: str = "bicubic"
) -> UInt8[np.ndarray, "images new_height new_width 3"]:
    """Images squashed to `size` pixels (a number means a square, a pair is height, width).

    Filter: PIL's, which widens its kernel when it shrinks (antialias); torch and OpenCV differ and change every metric.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if images.shape[1:3] == (height, width):
        return images.copy()
    resized = np.empty((len(images), height, width, 3), np.uint8)
    for row, image in enumerate(images):
        resized[row] = np.asarray(Image.fromarray(image).resize((width, height), FILTERS[resample]))
    return resized
