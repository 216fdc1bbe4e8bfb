"""Validation of the stimulus images of a dataset in the plain layout: whole, of one size, no test image in training."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from brain_diffuser.artifacts import messages
from brain_diffuser.data import custom_files
from brain_diffuser.data.wording import listed

MODES = ("RGB", "L")
PNG_DEPTH = 24  # byte of a PNG file that has its bits per channel
TIFF_DEPTH = 258  # tag of a TIFF file with the bits of each channel


def pixels(folder: Path, images: Mapping[str, str]) -> tuple[dict[str, bytes], list[str]]:
    """A hash of the decoded pixels of each image, and a sentence for each problem of mode, size or damage.

    Parameters
    ----------
    folder
        The folder of images.
    images : {stim_file: path below the folder}
        The images.

    Memory
    ------
    One image. Each is decoded once, which takes nearly all of the time: 5 ms for 425 x 425 pixels.
    """
    content: dict[str, bytes] = {}
    sizes: dict[str, tuple[int, int]] = {}
    sentences: list[str] = []
    for name, path in images.items():
        try:
            with custom_files.open_image(folder / path) as image:
                sizes[name] = image.size
                wrong = _of_image(folder / path, image) or _of_one_colour(folder / path, image)
                content[name] = _pixel_hash(image)
        except (OSError, ValueError) as error:
            wrong = _naming(folder / path, error)
        sentences.extend([wrong] if wrong else [])
    return content, sentences + list(_of_sizes(folder, sizes))


def _of_one_colour(path: Path, image: Image.Image) -> messages.Sentence | None:
    """The sentence about an image whose pixels are all equal, as in one that was never written."""
    image.load()
    if any(low != high for low, high in np.reshape(image.getextrema(), (-1, 2)).tolist()):
        return None
    return (
        f"{path} is one colour everywhere, {image.getpixel((0, 0))}; expected what was shown, so copy it again, or set "
        "the split of its trials to n/a"
    )


def _pixel_hash(image: Image.Image) -> bytes:
    """A hash of what an image shows: its pixels as RGB and upright, however they are stored."""
    upright = ImageOps.exif_transpose(image).convert("RGB")
    return hashlib.sha256(repr(upright.size).encode() + upright.tobytes()).digest()


def _naming(path: Path, error: Exception) -> messages.Sentence:
    """The sentence of an error about a file, which begins with the path."""
    sentence = str(error)
    return sentence if sentence.startswith(str(path)) else f"{path} cannot be read ({sentence})"


def _of_sizes(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Iterator[messages.Sentence]:
    """Problems of the sizes of images: more than one, or no square."""
    if not sizes:
        return
    usual, _ = Counter(sizes.values()).most_common(1)[0]
    odd = [name for name, size in sizes.items() if size != usual]
    if odd:
        width, height = sizes[odd[0]]
        yield (
            f"{folder}: {listed(odd)} has another size than the other images, {width} x {height} pixels, not "
            f"{usual[0]} x {usual[1]}; expected one size, so crop or pad to what was on the screen"
        )
    if usual[0] != usual[1]:
        yield f"{folder} has images of {usual[0]} x {usual[1]} pixels; expected squares, so crop or pad them"


def of_copies(
    folder: Path, content: Mapping[str, bytes], splits: Mapping[tuple[str, str], set[str]]
) -> Iterator[messages.Sentence]:
    """Images of a subject's test whose pixels are, under another name, those of an image of its training."""
    for subject in dict.fromkeys(subject for subject, _ in splits):
        train, test = (splits.get((subject, split), set()) & set(content) for split in custom_files.SPLITS)
        known = {content[name]: name for name in sorted(train)}
        copies = sorted(name for name in test - train if content[name] in known)
        if copies:
            yield (
                f"{folder}: {listed(copies)} is in the test of {subject} and has the same pixels as "
                f"{known[content[copies[0]]]}, which is in train; expected one of them, so name it once"
            )


def _of_image(path: Path, image: Image.Image) -> messages.Sentence | None:
    """Why the pixels of an open image are not what was shown; None if they are."""
    depth = 8
    if image.format == "PNG":
        with open(path, "rb") as stream:
            depth = stream.read(PNG_DEPTH + 1)[PNG_DEPTH]
    if image.format == "TIFF":
        depth = max(image.tag_v2.get(TIFF_DEPTH, (depth,)))  # pyright: ignore[reportAttributeAccessIssue]
    if depth > 8 or image.mode.startswith("I"):
        return f"{path} has {max(16, depth)} bits per channel; expected 8, so convert it"
    if image.mode not in MODES:
        return f"{path} is {image.mode}; expected 8-bit RGB or grey (L), so convert it"
    if "transparency" in image.info:
        return f"{path} has a transparent colour; expected 8-bit RGB or grey, so save it as it was on the screen"
    if getattr(image, "n_frames", 1) > 1:
        return f"{path} has {image.n_frames} frames; expected a still image, so save the frame that was shown"  # pyright: ignore[reportAttributeAccessIssue]
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        return f"{path} is stored rotated (EXIF orientation); turn its pixels and delete the tag"
    return None
