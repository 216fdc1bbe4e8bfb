"""Render the training scenes once, at the models' image size.

    python -m demo.training.corpus known --scenes 60000

"training" scenes, of every object there is, train the CLIP pair and the VDVAE; "familiar" scenes, of all objects but
those out of distribution, train the autoencoder; "known" scenes, of the trained and the held-out kinds, train the UNet;
"held-out" scenes measure the models. The subjects' stimuli come from a stream of their own ("stimuli",
demo/dataset.py): no scene is in two streams. A stream that is there is not rendered again.
"""

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from demo import scenes

SIZE, PATCHES, SEED = 64, 8, 0
FOLDER = Path("results/demo/training")


def at_size(scene: scenes.Scene) -> np.ndarray:
    """Image uint8 (64, 64, 3) of a scene, drawn at twice that size."""
    image = Image.fromarray(scenes.render(scene, 2 * SIZE)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image)


def one(index: int, stream: str, among: Sequence[int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Image uint8 (64, 64, 3), object labels int16 (8, 8), five captions of one scene."""
    random = scenes.rng(SEED, stream, index)
    scene = scenes.sample(random, among)
    return at_size(scene), scenes.label_map(scene, PATCHES), scenes.captions(scene, random)


def things_of(stream: str) -> tuple[int, ...]:
    """The things that the scenes of a stream show."""
    if stream == "known":
        return scenes.kinds("trained", "held out")
    unknown = scenes.kinds("out of distribution") if stream == "familiar" else ()
    return tuple(i for i in range(len(scenes.things())) if i not in unknown)


def write(stream: str, n_scenes: int, folder: Path = FOLDER) -> None:
    """Write {stream}_images.npy, {stream}_labels.npy and, last of all, {stream}_captions.json."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(
        folder / f"{stream}_images.npy", "w+", dtype=np.uint8, shape=(n_scenes, SIZE, SIZE, 3)
    )
    labels = np.zeros((n_scenes, PATCHES, PATCHES), np.int16)
    captions = []
    render = partial(one, stream=stream, among=things_of(stream))
    with ProcessPoolExecutor(2) as pool:
        for i, (image, label, texts) in enumerate(pool.map(render, range(n_scenes), chunksize=200)):
            images[i], labels[i] = image, label
            captions.append(texts)
    images.flush()
    np.save(folder / f"{stream}_labels.npy", labels)
    part = folder / f"{stream}_captions.part"
    part.write_text(json.dumps(captions), encoding="utf-8")
    os.replace(part, done(stream, folder))


def done(stream: str, folder: Path = FOLDER) -> Path:
    """The file that is there once a stream is rendered."""
    return folder / f"{stream}_captions.json"


def read(stream: str, folder: Path = FOLDER) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """Images (n, 64, 64, 3), labels (n, 8, 8), captions (n x 5)."""
    return (
        np.load(folder / f"{stream}_images.npy", mmap_mode="r"),
        np.load(folder / f"{stream}_labels.npy"),
        json.loads(done(stream, folder).read_text(encoding="utf-8")),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("streams", nargs="+", choices=("training", "familiar", "known", "held-out"))
    parser.add_argument("--scenes", type=int, default=60000)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    for name in arguments.streams:
        if not done(name, arguments.folder).exists():
            write(name, arguments.scenes, arguments.folder)
