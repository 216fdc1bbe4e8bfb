"""Score the demo's models: development scenes choose, fresh scenes are looked at once, at the end.

    python -m demo.training.measure --models demo/models/versatile-diffusion --scenes development --count 120
    python -m demo.training.measure --compare old.npz new.npz

Each of four ways to an image is scored, each with fewer losses than the next: the scenes themselves, the scenes through
the autoencoder and back, reconstructions from their true features, and reconstructions from the simulated brain of
subject 1. Scores are those of `naming` (are the kinds that a scene shows named first?), two-way identification by
EfficientNet-Lite0 and the peak signal-to-noise ratio. Settings are those of config.yaml. "familiar" is the half of the
scenes that show only the 36 kinds that the first models knew.
"""

import argparse
import json
import logging
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.decoding import ridge
from brain_diffuser.evaluation import metrics
from brain_diffuser.features import extract
from brain_diffuser.generation import backbones, img2img, vdvae_stage
from brain_diffuser.models import clip, efficientnet_lite
from brain_diffuser.models.vdvae import weights
from demo import brain, dataset, scenes
from demo.training import corpus, naming

SEEDS = {"development": 1, "fresh": 74_202}
"""Of the scenes' streams of the same names; no model is trained on either stream."""
N_SCENES, N_TRAIN, SUBJECT = 600, 2400, 1
CONDITIONS = ("truth", "autoencoder", "features", "brain")
MODELS, VDVAE = Path("demo/models/versatile-diffusion"), Path("demo/models/vdvae/vdvae-ema.safetensors")
FAMILIAR = set(scenes.shown_things())


class Stimuli(NamedTuple):
    """What a subject saw: the images at the models' size, their captions, the betas of three trials averaged."""

    images: np.ndarray
    captions: list[list[str]]
    betas: np.ndarray


def scene_of(stream: str, index: int) -> tuple[scenes.Scene, np.random.Generator]:
    """A scene of the trained kinds, and the generator that captions it."""
    random = scenes.rng(SEEDS.get(stream, 0), stream, index)
    return scenes.sample(random, scenes.kinds("trained")), random


def see(stream: str, folder: Path) -> tuple[Stimuli, Stimuli]:
    """Subject 1 sees N_TRAIN scenes of its own and all scenes of a stream, three times each; cached in folder."""
    drawn = [scene_of("measured training", i) for i in range(N_TRAIN)] + [scene_of(stream, i) for i in range(N_SCENES)]
    captions = [scenes.captions(*each) for each in drawn]
    cached = folder / f"seen_{stream}.npz"
    if not cached.exists():
        small = []

        def images(ids: np.ndarray) -> np.ndarray:
            large = np.stack([scenes.render(drawn[i][0], dataset.SIDE) for i in ids])
            small.append(image_files.resize(large, corpus.SIZE, "bilinear"))
            return large

        network = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite1"))
        ids = np.arange(len(drawn))
        _, signal, ncsnr = brain.simulate(SUBJECT, SEEDS[stream], ids, images, lambda i: drawn[i][0], network)
        trials = scenes.rng(SEEDS[stream], "measured trials", SUBJECT).permutation(np.repeat(ids, dataset.REPEATS))
        betas = np.zeros(signal.shape, np.float32)
        for session in range(len(trials) // dataset.TRIALS_PER_SESSION):
            start = session * dataset.TRIALS_PER_SESSION
            shown = trials[start : start + dataset.TRIALS_PER_SESSION]
            measured = brain.session_betas(SUBJECT, session + 1, SEEDS[stream], signal[shown], ncsnr)
            np.add.at(betas, shown, measured.astype(np.float32) / (300 * dataset.REPEATS))
        np.savez(cached, images=np.concatenate(small), betas=betas)
    stored = np.load(cached)
    seen = Stimuli(stored["images"], captions, stored["betas"])
    return Stimuli(*(part[:N_TRAIN] for part in seen)), Stimuli(*(part[N_TRAIN:] for part in seen))


def features_of(stimuli: Stimuli, networks: dict[str, Any], folder: Path, name: str) -> dict[str, Path]:
    """Feature -> file with the features of all stimuli."""
    paths = {feature: folder / f"{feature}_{name}.h5" for feature in networks}
    ids = np.arange(len(stimuli.images), dtype=np.int32)
    for feature, network in networks.items():
        inputs = stimuli.captions if extract.FEATURES[feature].reads == "captions" else stimuli.images
        options = {"image_size": corpus.SIZE} if feature == "clip_vision" else {}
        extract.store(feature, network, inputs, ids, paths[feature], batch_size=50, **options)
    return paths


def decode(
    train: Stimuli, test: Stimuli, train_features: dict[str, Path], folder: Path, config: dict[str, Any]
) -> dict[str, Path]:
    """Feature -> file with what the test stimuli's betas predict of it."""
    ids = [np.arange(len(part.betas), dtype=np.int32) for part in (train, test)]
    kernel = ridge.kernel(
        *(hdf5.StimulusArray(part.betas, some) for part, some in zip((train, test), ids, strict=True)),
        precision=config["precision"],
    )
    paths = {feature: folder / f"{feature}_predicted.h5" for feature in train_features}
    for feature, path in paths.items():
        alpha = config["alpha"][feature]
        ridge.predict(kernel, train_features[feature], path, alpha=alpha, rescale=config["rescale"])
    return paths


def reconstruct(paths: dict[str, Path], backbone: backbones.Backbone, vdvae: Any, config: dict[str, Any]) -> np.ndarray:
    """The images of features in files, as stages 4 and 5 make them."""
    features = {feature: hdf5.load(path) for feature, path in paths.items()}
    guesses = np.stack([image for _, image in vdvae_stage.decode(features["vdvae"], vdvae, **config["stage1"])])
    made = img2img.reconstruct(
        guesses,
        features["clip_text"].values,
        features["clip_vision"].values,
        backbone.unconditional,
        backbone.models,
        nsd_id=features["vdvae"].nsd_id,
        batch_size=20,
        **config["recon"],
    )
    return np.stack([image for _, image in made])


def images_of(
    stream: str, count: int, conditions: tuple[str, ...], models: Path, vdvae: Path, folder: Path
) -> Iterator[tuple[str, np.ndarray]]:
    """Condition -> images uint8 (count, 64, 64, 3), and the scenes themselves first."""
    config = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    train, test = see(stream, folder)
    test = Stimuli(*(part[:count] for part in test))
    yield "truth", test.images
    backbone = backbones.load_versatile_diffusion(models, models, "cpu", torch.float32)
    if "autoencoder" in conditions:
        ids = np.arange(count, dtype=np.int32)
        returned = img2img.autoencode(test.images, backbone.models, nsd_id=ids, seed=0, batch_size=20)
        yield "autoencoder", np.stack([image for _, image in returned])
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        networks = {
            "vdvae": weights.load(vdvae),
            "clip_text": clip.ClipText.load(models),
            "clip_vision": clip.ClipVision.load(models),
        }
        extracted = partial(features_of, networks=networks, folder=Path(scratch))
        show = partial(reconstruct, backbone=backbone, vdvae=networks["vdvae"], config=config)
        if "features" in conditions:
            yield "features", show(extracted(test, name="test"))
        if "brain" in conditions:
            train_features = extracted(train, name="train")
            yield "brain", show(decode(train, test, train_features, Path(scratch), config["ridge"]))


def score(
    images: np.ndarray, truth: np.ndarray, shown: list[list[int]], judges: tuple[Any, Any]
) -> dict[str, np.ndarray]:
    """Each score of every image."""
    namer, network = judges
    shares = namer.shares(images)
    of_truth, of_images = (_standardise(network.embed(some)) for some in (truth, images))
    error = np.square(images.astype(np.float32) - truth).mean((1, 2, 3))
    return {
        "named": naming.named(shares, shown, namer.names),
        "main": naming.main_named(shares, shown, namer.names),
        "two_way": metrics.two_way(of_truth @ of_images.T, np.arange(len(truth))),
        "psnr": 10 * np.log10(255**2 / np.maximum(error, 1e-3)),
    }


def _standardise(features: np.ndarray) -> np.ndarray:
    features = features - features.mean(1, keepdims=True)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def compare(old: Path, new: Path, n_draws: int = 10_000) -> dict[str, dict[str, float]]:
    """New minus old, the mean over the same scenes, with the 95 % interval of a paired bootstrap."""
    before, after = np.load(old), np.load(new)
    rows = np.random.default_rng(0).integers(len(after["shown"]), size=(n_draws, len(after["shown"])))
    found = {}
    for name in after.files:
        if "/" in name and not name.endswith("/images") and name in before.files:
            if not np.array_equal(before["shown"], after["shown"]):
                raise ValueError(
                    f"{old} and {new} were measured on different scenes; expected the same. Measure again."
                )
            difference = after[name].astype(float) - before[name]
            low, high = np.percentile(difference[rows].mean(1), (2.5, 97.5))
            found[name] = {"difference": difference.mean(), "low": low, "high": high}
    return {name: {key: round(float(value), 4) for key, value in some.items()} for name, some in found.items()}


def main(
    stream: str, count: int, conditions: list[str], models: Path, vdvae: Path, folder: Path, out: Path | None
) -> None:
    shown = [naming.kinds_of(scene_of(stream, i)[0]) for i in range(count)]
    familiar = np.array([set(kinds) <= FAMILIAR for kinds in shown])
    judges = naming.load(), efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite0"))
    stored: dict[str, np.ndarray] = {"shown": np.array([",".join(map(str, kinds)) for kinds in shown])}
    truth = np.empty(0)
    for condition, images in images_of(stream, count, tuple(conditions), models, vdvae, folder):
        truth = images if condition == "truth" else truth
        scores = score(images, truth, shown, judges)
        stored |= {f"{condition}/{name}": values for name, values in scores.items()} | {f"{condition}/images": images}
        means = {name: round(float(values.mean()), 4) for name, values in scores.items()}
        means["named_familiar"] = round(float(scores["named"][familiar].mean()), 4)
        logging.info(json.dumps({"condition": condition, "scenes": count, **means}))
    if out:
        np.savez_compressed(out, **stored)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", dest="stream", choices=tuple(SEEDS), default="development")
    parser.add_argument("--count", type=int, default=N_SCENES)
    parser.add_argument("--conditions", nargs="*", choices=CONDITIONS[1:], default=list(CONDITIONS[1:]))
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--vdvae", type=Path, default=VDVAE)
    parser.add_argument("--folder", type=Path, default=corpus.FOLDER, help="of what the subject saw")
    parser.add_argument("--out", type=Path, help=".npz for every scene's scores and images")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("OLD", "NEW"))
    arguments = vars(parser.parse_args())
    pair = arguments.pop("compare")
    if pair:
        logging.info(json.dumps(compare(*pair), indent=1))
    else:
        main(**arguments)
