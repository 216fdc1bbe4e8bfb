"""The published stimuli of Haxby et al. 2001 as images of their categories, in place of drawn ones (docs/haxby.md).

The recording says which category a block showed and not which of its images. So the image that stands for a block is of
its category, and may or may not have been shown in it. Each block gets another image, so that none is in both splits.

Source: the folder `stimuli` of stimuli-2010.01.14.tar.gz, with a folder of images for each category.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from brain_diffuser.artifacts import hdf5, image_files, tables
from brain_diffuser.data import custom_files
from demo import haxby

N_RUNS = 12
FOLDERS = {
    "face": "faces",
    "house": "houses",
    "cat": "cats",
    "bottle": "bottles",
    "scissors": "scissors",
    "shoe": "shoes",
    "chair": "chairs",
    haxby.SCRAMBLED: "controls",  # a folder of scrambled images for each of the others
}


def choose(folder: str | Path) -> dict[tuple[str, int], Path]:
    """An image for each category and run: of all images of a category, sorted by name, twelve at even distances.

    Raises ValueError: a category has no folder, or fewer than twelve images.
    """
    chosen = {}
    for category, name in FOLDERS.items():
        place = Path(folder, name)
        if not place.is_dir():
            raise ValueError(
                f"haxby.stimuli is {folder}, which has no folder {name}; expected {', '.join(FOLDERS.values())}, as "
                "stimuli-2010.01.14.tar.gz has in its folder stimuli"
            )
        images = list(custom_files.stimulus_ids(place))
        if len(images) < N_RUNS:
            raise ValueError(
                f"{place} has {len(images)} images; expected at least {N_RUNS}, one for each run, so that no image is "
                "in both splits; unpack stimuli-2010.01.14.tar.gz again"
            )
        chosen |= {(category, run + 1): place / images[run * len(images) // N_RUNS] for run in range(N_RUNS)}
    return chosen


def stim_file(category: str, run: int) -> str:
    """The name of the image of a block, below the folder of images; `haxby.of_stim_file` reads it."""
    return f"published/{category}_run-{run:02d}.png"


def caption(category: str) -> str:
    """The caption of an image: what it shows, and that it may be another image than the one that was seen."""
    return f"{haxby.WORDS.get(category, f'a {category}')}, an image of the category that was seen"


def write_images(
    folder: str | Path, blocks: haxby.Blocks, chosen: Mapping[tuple[str, int], Path], size: int = haxby.IMAGE
) -> None:
    """Write an image for each block: the middle square of the published one, resized.

    Parameters
    ----------
    folder
        The folder that is written.
    blocks
        The blocks.
    chosen : {(category, run): path}
        The published image of each block.
    size
        Pixels along a side.
    """
    with hdf5.atomic(folder) as partial:
        for block in zip(blocks.category, blocks.run, strict=True):
            with custom_files.open_image(chosen[block]) as image:
                pixels = np.asarray(image.convert("RGB"))
            side = min(pixels.shape[:2])
            top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
            (square,) = image_files.resize(pixels[None, top : top + side, left : left + side], size)
            path = partial / stim_file(*block)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(square).save(path)


def write_tables(trials: str | Path, captions: str | Path, blocks: haxby.Blocks, test_runs: Sequence[int]) -> None:
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
    tables.write_tsv(trials, custom_files.TRIALS, rows)
    tables.write_tsv(captions, custom_files.CAPTIONS, texts)
