"""A real brain: one slice of Haxby et al. 2001, subject 1, as a dataset in the plain layout (docs/haxby.md).

The recording says which of eight categories a block of 24 s showed, not which images. Proxy stimuli are drawn
from the demo's objects, a different one for each block, so that none is in both splits.
"""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image, ImageDraw

from brain_diffuser.artifacts import hdf5, tables, text_files
from brain_diffuser.data import custom_files
from demo import scenes

TR = 2.5  # seconds
REST = "rest"
SCRAMBLED = "scrambledpix"
BOTTLE = "bottle"
# The objects in demo/images that are proxies for a category. No bottle is among them, so one is drawn.
OBJECTS = {
    "face": ("woman", "man", "girl", "boy"),
    "house": ("house", "house with a garden"),
    "cat": ("cat", "black cat"),
    BOTTLE: (),
    "scissors": ("pair of scissors",),
    "shoe": ("running shoe", "high-heeled shoe"),
    "chair": ("chair",),
    SCRAMBLED: (),
}
WORDS = {"scissors": "a pair of scissors", SCRAMBLED: "a scrambled picture"}
GLASS = ((38, 96, 62), (60, 74, 120), (120, 72, 38))  # colours of bottles
TILES = 8  # pieces along a side of a scrambled image
IMAGE = 425  # pixels


class Blocks(NamedTuple):
    """Means over the volumes of a block; runs count from 1."""

    values: Float32[np.ndarray, "blocks voxels"]
    category: tuple[str, ...]
    run: tuple[int, ...]


def read_labels(path: str | Path) -> tuple[list[str], list[int]]:
    """The label of each volume, and its run, from 0.

    Raises FileNotFoundError, ValueError: no text in UTF-8, or a line that is no label and run.
    """
    rows = [line.split() for line in text_files.lines(text_files.read(path))]
    for line, row in enumerate(rows, 1):
        if len(row) != 2 or not (row[1].isascii() and row[1].isdecimal()):
            raise ValueError(f"{path} line {line} is {' '.join(row)!r}; expected a label and the number of a run")
    return [label for label, _ in rows], [int(run) for _, run in rows]


def block_means(
    volumes: Float[np.ndarray, "volumes voxels"], labels: Sequence[str], runs: Sequence[int], shift: int = 2
) -> Blocks:
    """Means over the volumes of each block, of voxels that are detrended and z-scored run by run.

    Parameters
    ----------
    volumes : (volumes, voxels)
        The recording.
    labels, runs : (volumes,)
        The label and the run of each volume.
    shift
        The delay of the haemodynamic response, in volumes. Volumes beyond the end of a run are left out.
    """
    from nilearn import signal

    cleaned = signal.clean(volumes, runs=np.array(runs), detrend=True, standardize="zscore_sample", t_r=TR)
    values, category, run = [], [], []
    for start in range(len(labels)):
        begins = start == 0 or (labels[start - 1], runs[start - 1]) != (labels[start], runs[start])
        if labels[start] == REST or not begins:
            continue
        stop = start
        while stop < len(labels) and (labels[stop], runs[stop]) == (labels[start], runs[start]):
            stop += 1
        shown = [row for row in range(start + shift, stop + shift) if row < len(runs) and runs[row] == runs[start]]
        values.append(cleaned[shown].mean(0))
        category.append(labels[start])
        run.append(runs[start] + 1)
    return Blocks(np.array(values, np.float32), tuple(category), tuple(run))


def draw(category: str, run: int, size: int = IMAGE) -> UInt8[np.ndarray, "size size 3"]:
    """The proxy stimulus of a block: one object in an empty room, whose kind, place and size are drawn for each run."""
    random = scenes.rng(0, f"haxby {category}", run)
    if category == SCRAMBLED:
        kinds = [name for name in OBJECTS if name != SCRAMBLED]
        return _scramble(draw(kinds[run % len(kinds)], run, size), random)
    names = [thing.name for thing in scenes.things()]
    thing = names.index(OBJECTS[category][run % len(OBJECTS[category])]) if OBJECTS[category] else 0
    side, x, y = random.uniform(0.66, 0.76), random.uniform(0.46, 0.54), random.uniform(0.5, 0.56)
    placed = scenes.Placed(thing, x, y, side, bool(run % 2), 1.0, 1.0)
    room = scenes.Scene("room", "grey", 0, (placed,))
    if category != BOTTLE:
        return scenes.render(room, size)
    canvas = Image.fromarray(scenes.render(replace(room, objects=()), size))
    _draw_bottle(canvas, placed, GLASS[run % len(GLASS)])
    return np.asarray(canvas)


def _scramble(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The square pieces of an image in another order; a rest at the edges stays."""
    side = len(image) // TILES
    corners = [(row * side, column * side) for row in range(TILES) for column in range(TILES)]
    scrambled = image.copy()
    for (y, x), place in zip(corners, random.permutation(len(corners)), strict=True):
        top, left = corners[place]
        scrambled[top : top + side, left : left + side] = image[y : y + side, x : x + side]
    return scrambled


def _draw_bottle(canvas: Image.Image, placed: scenes.Placed, colour: tuple[int, int, int]) -> None:
    """Draw a bottle of glass with neck, cap and label."""
    size = canvas.width
    left, top = placed.x * size, (placed.y - placed.size / 2) * size
    unit = placed.size * size

    def box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        return left + (x - width / 2) * unit, top + y * unit, left + (x + width / 2) * unit, top + (y + height) * unit

    pen = ImageDraw.Draw(canvas)
    light = tuple(min(255, level + 70) for level in colour)
    pen.rounded_rectangle(box(0, 0.04, 0.12, 0.45), unit * 0.03, fill=colour)
    pen.rounded_rectangle(box(0, 0, 0.14, 0.08), unit * 0.02, fill=(196, 160, 80))
    pen.ellipse(box(0, 0.26, 0.32, 0.3), fill=colour)
    pen.rounded_rectangle(box(0, 0.4, 0.32, 0.6), unit * 0.05, fill=colour)
    pen.rectangle(box(0, 0.56, 0.32, 0.26), fill=(236, 226, 200))
    pen.rectangle(box(-0.1, 0.42, 0.03, 0.12), fill=light)


def caption(category: str) -> str:
    """The caption of an image: what it shows, and that it was not what was seen."""
    return f"{WORDS.get(category, f'a {category}')}, standing in for what was seen"


def stim_file(category: str, run: int) -> str:
    """The name of the image of a block, below the folder of images."""
    return f"stand-ins/{category}_run-{run:02d}.png"


def of_stim_file(name: str) -> tuple[str, int]:
    """The category and the run of an image, from its name."""
    category, _, run = Path(name).stem.rpartition("_run-")
    return category, int(run)


def write_images(folder: str | Path, blocks: Blocks, size: int = IMAGE) -> None:
    """Write an image for each block."""
    with hdf5.atomic(folder) as partial:
        for category, run in zip(blocks.category, blocks.run, strict=True):
            path = partial / stim_file(category, run)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(category, run, size)).save(path)


def write_tables(trials: str | Path, captions: str | Path, blocks: Blocks, test_runs: Sequence[int]) -> None:
    """Write the trials table and the captions.

    Parameters
    ----------
    trials, captions
        The tables.
    blocks
        The blocks.
    test_runs
        The runs whose blocks are the test, from 1.
    """
    rows = [
        (stim_file(category, run), "01", run, 1, "test" if run in test_runs else "train")
        for category, run in zip(blocks.category, blocks.run, strict=True)
    ]
    texts = [(row[0], caption(category)) for row, category in zip(rows, blocks.category, strict=True)]
    for path, header, lines in ((trials, custom_files.TRIALS, rows), (captions, custom_files.CAPTIONS, texts)):
        tables.write_tsv(path, header, lines)


def write_betas(path: str | Path, blocks: Blocks, mask: nib.Nifti1Image) -> None:
    """Write the blocks as volumes (x, y, z, blocks), 0 outside the mask."""
    selected = np.asarray(mask.dataobj) > 0
    volumes = np.zeros((*selected.shape, len(blocks.run)), np.float32)
    volumes[selected] = blocks.values.T
    with hdf5.atomic(path) as partial:
        partial.write_bytes(gzip.compress(nib.Nifti1Image(volumes, mask.affine).to_bytes(), mtime=0))
