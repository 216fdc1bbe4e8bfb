"""Render the training scenes once, at the models' image size.

    python -m demo.training.corpus --scenes 60000

"training" scenes, of every object there is, train the CLIP pair and the autoencoders; "shown" scenes, of the objects
that the subjects see and of FURTHER, train the UNet; "held-out" scenes measure the models. The subjects' stimuli come
from a stream of their own ("stimuli", demo/dataset.py): no scene is in two streams.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from demo import scenes

SIZE, PATCHES, SEED = 64, 8, 0
FOLDER = Path("results/demo/training")
FURTHER = {
    *("owl", "parrot", "zebra", "ladybird", "strawberry", "pineapple", "ice cream", "Christmas tree", "circus tent"),
    *("sailboat", "umbrella", "soccer ball"),
}
"""Things that the UNet learns beside those that the subjects see."""


def known_things() -> tuple[int, ...]:
    """The things of the UNet's training scenes, numbered as in `scenes.things`."""
    return tuple(i for i, thing in enumerate(scenes.things()) if thing.shown == "yes" or thing.name in FURTHER)


def at_size(scene: scenes.Scene) -> np.ndarray:
    """Image uint8 (64, 64, 3) of a scene, drawn at twice that size."""
    image = Image.fromarray(scenes.render(scene, 2 * SIZE)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image)


def one(index: int, stream: str, among: Sequence[int]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Image uint8 (64, 64, 3), object labels int16 (8, 8), five captions of one scene."""
    random = scenes.rng(SEED, stream, index)
    scene = scenes.sample(random, among)
    return at_size(scene), scenes.label_map(scene, PATCHES), scenes.captions(scene, random)


def write(stream: str, n_scenes: int, among: Sequence[int], folder: Path = FOLDER) -> None:
    """Write {stream}_images.npy, {stream}_labels.npy and {stream}_captions.json for scenes of the things in among."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(
        folder / f"{stream}_images.npy", "w+", dtype=np.uint8, shape=(n_scenes, SIZE, SIZE, 3)
    )
    labels = np.zeros((n_scenes, PATCHES, PATCHES), np.int16)
    captions = []
    with ProcessPoolExecutor(2) as pool:
        for i, (image, label, texts) in enumerate(
            pool.map(partial(one, stream=stream, among=among), range(n_scenes), chunksize=200)
        ):
            images[i], labels[i] = image, label
            captions.append(texts)
    images.flush()
    np.save(folder / f"{stream}_labels.npy", labels)
    (folder / f"{stream}_captions.json").write_text(json.dumps(captions), encoding="utf-8")


def read(stream: str, folder: Path = FOLDER) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """Images (n, 64, 64, 3), labels (n, 8, 8), captions (n x 5)."""
    return (
        np.load(folder / f"{stream}_images.npy"),
        np.load(folder / f"{stream}_labels.npy"),
        json.loads((folder / f"{stream}_captions.json").read_text(encoding="utf-8")),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=60000)
    parser.add_argument("--streams", nargs="+", default=["held-out", "training", "shown"])
    arguments = parser.parse_args()
    for name in arguments.streams:
        among = known_things() if name == "shown" else range(len(scenes.things()))
        write(name, 1000 if name == "held-out" else arguments.scenes, among)
