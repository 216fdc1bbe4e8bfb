"""Stimuli of LAION-fMRI: image files, as they are encoded, in one HDF5 file."""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from brain_diffuser.artifacts import hdf5, messages, system_faults
from brain_diffuser.data import custom_files, hdf5_storage, placeholders

DATASET = "images"
FORMATS = ("JPEG", "PNG")
FIX: messages.Sentence = "Download it again."
RESAMPLING = Image.Resampling.BICUBIC


def decode(content: bytes, background: int, where: messages.Sentence) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels of an encoded image; what is transparent shows a grey background.

    Parameters
    ----------
    content
        A JPEG or PNG file of 8 bits per channel.
    background
        The grey behind it, 0 to 255.
    where
        What the image is, for messages.

    Raises
    ------
    ValueError
        The bytes are no such image, or damaged.
    """
    if not content:
        raise ValueError(f"{where} is empty (0 bytes); expected an encoded JPEG or PNG. {FIX}")
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # of odd metadata, which the pixels do not depend on
            image.load()
            mode = image.mode
            if mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
                behind = Image.new("RGBA", image.size, (background,) * 3 + (255,))
                return np.asarray(Image.alpha_composite(behind, image.convert("RGBA")).convert("RGB"))
            if mode in ("L", "P", "RGB"):
                return np.asarray(image.convert("RGB"))
    except custom_files.UNREADABLE_IMAGE as error:
        kind = type(error).__name__
        raise ValueError(f"{where} is no JPEG or PNG that can be read to its end ({kind}). {FIX}") from None
    raise ValueError(f"{where} has the mode {mode}; expected 8-bit RGB, grey, or either with transparency")


def copy_stimuli(
    source: str | Path,
    path: str | Path,
    nsd_id: Int32[np.ndarray, " stimuli"],
    names: Mapping[int, str],
    *,
    n_images: int,
    background: int,
    size: int,
) -> None:
    """Decode some stimuli and write them to an artifact, one at a time.

    Parameters
    ----------
    source
        The HDF5 file, whose dataset `images` has the bytes of an image file in each row.
    path
        The artifact.
    nsd_id : (stimuli,)
        The stimuli in the order of the artifact's rows; an id is a row of `images`.
    names : {nsd_id: name}
        What messages call them.
    n_images
        The rows that the metadata have.
    background
        The grey behind what is transparent, 0 to 255.
    size
        The side of the images in pixels, to which larger and smaller ones are resized (PIL's bicubic filter, which
        widens as it shrinks).

    Raises
    ------
    FileNotFoundError, ValueError
        The file has another form or number of images, or an image is damaged, not square or of another size than most.
    """
    placeholders.refuse(source, "the encoded stimuli", FIX)
    with hdf5.opening(source, FIX) as file:
        stored = hdf5_storage.find(file, DATASET)
        stored = _checked(source, file, stored, n_images)
        axes, shape = ("height", "width", "rgb"), (len(nsd_id), size, size, 3)
        shown: tuple[int, ...] = ()
        with hdf5.create(path, shape, np.uint8, nsd_id, axes=axes, flatten=False) as images:
            for row in np.argsort(nsd_id).tolist():  # the file is read front to back
                number = int(nsd_id[row])
                where: messages.Sentence = f"{source}: image {number}, {names[number]},"
                pixels = decode(_content(source, stored, number, where), background, where)
                shown = shown or pixels.shape
                if pixels.shape != shown or shown[0] != shown[1]:
                    raise ValueError(
                        f"{where} has {pixels.shape[1]} x {pixels.shape[0]} pixels, images before it {shown[1]} x "
                        f"{shown[0]}; expected squares of one size. {FIX}"
                    )
                images[row] = np.asarray(Image.fromarray(pixels).resize((size, size), RESAMPLING))


def _content(source: str | Path, stored: h5py.Dataset, number: int, where: messages.Sentence) -> bytes:
    """The bytes of one image file."""
    try:
        return np.asarray(stored[number], np.uint8).tobytes()
    except (OSError, RuntimeError) as error:
        system_faults.raise_if_any(error, source)
        raise ValueError(f"{where} cannot be read ({error}). {FIX}") from error


def _checked(source: str | Path, file: h5py.File, stored: h5py.Dataset | None, n_images: int) -> h5py.Dataset:
    """The dataset of images. Raises ValueError: it has no row of bytes for each row of the metadata."""
    if stored is None:
        raise ValueError(f"{source} lacks a dataset {DATASET}; it has {', '.join(file) or 'nothing'}. {FIX}")
    kind = h5py.check_vlen_dtype(stored.dtype)
    if kind != np.uint8 or stored.ndim != 1:
        described = f"texts or bytes of {kind}" if kind else str(stored.dtype)
        raise ValueError(
            f"{source}: {DATASET} is {described} of shape {stored.shape}; expected one row of encoded bytes (uint8 of "
            "variable length) for each image"
        )
    if len(stored) != n_images:
        raise ValueError(
            f"{source} has {len(stored)} images, the metadata {n_images} rows; expected as many, for a row is the id "
            "of an image. Download both again."
        )
    return stored
