"""Score images of a finished demo run: are the objects that a stimulus shows named first, and is it identified?

    snakemake --cores 2 --config results=results_development demo='{seed: 1}' -- results_development/sub01/recon
    python -m demo.training.measure results_development/sub01 --seed 1 --sets recon

A development run (`demo.seed` 1) chooses what is chosen; the demo's own test stimuli are looked at once, at the end.
Models are compared on 620 fresh stimuli, which chose nothing either, with intervals of paired differences:

    python -m demo.training.measure results_fresh/sub01 --seed 2 --against ../earlier/results_fresh/sub01

where both were made with `--config results=results_fresh demo='{seed: 2, n_test: 620}'`, of the models at two commits.
The naming network was trained before the models that are compared, and chose nothing.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.evaluation import metrics, statistics
from brain_diffuser.models import efficientnet_lite
from demo import dataset
from demo.training import corpus, naming


def images_of(subject: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Ids and images, uint8 (n, height, width, 3), of a set of images in a subject's folder."""
    where = subject / name
    return image_files.read_folder(where, where.with_name(where.name + "_manifest.tsv"))


def measure(subject: Path, seed: int, names: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """Set of images -> its scores, each with one value a test stimulus; "truth" is the stimuli themselves.

    named: of k kinds that a stimulus shows, the share among the k that are named first. single: the same of stimuli
    with one object, NaN of others. main: whether the kind of the biggest object is named first. two_way:
    identification of the stimuli as they were shown by EfficientNet-Lite0, as in the workflow's scores. psnr: in dB, at
    64 pixels.

    Raises ValueError: the run's scenes are those of another seed, or two sets show different stimuli.
    """
    ids, _ = images_of(subject, names[0])
    drawn = [dataset.scene_of(int(i), seed) for i in ids]
    truth = np.stack([corpus.at_size(scene) for scene in drawn])
    shown_file = subject / "data/stimuli_test.h5"
    stimuli, stimulus_ids = hdf5.load(shown_file)
    hdf5.check_aligned(subject / names[0], ids, shown_file, stimulus_ids)
    if np.abs(image_files.resize(stimuli, corpus.SIZE, "bilinear").astype(int) - truth).mean() > 10:
        raise ValueError(f"{shown_file} has other scenes than those of demo.seed {seed}; give the run's with --seed")
    shown = [naming.kinds_of(scene) for scene in drawn]
    is_single = np.array([len(scene.objects) == 1 for scene in drawn])
    namer = naming.load()
    network = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite0"))
    of_stimuli = network.embed(stimuli)
    found = {}
    for name in ("truth", *names):
        images = stimuli
        if name != "truth":
            theirs, images = images_of(subject, name)
            if not np.array_equal(theirs, ids):
                raise ValueError(f"{subject / name} shows other stimuli than {subject / names[0]}; measure them apart")
        small = truth if name == "truth" else image_files.resize(images, corpus.SIZE, "bilinear")
        shares = namer.shares(small)
        named = naming.named(shares, shown, namer.names)
        correlation = statistics.correlation_matrix(of_stimuli, network.embed(images))
        error = np.square(small.astype(np.float32) - truth).mean((1, 2, 3))
        found[name] = {
            "named": named,
            "single": np.where(is_single, named, np.nan),
            "main": naming.main_named(shares, shown, namer.names).astype(float),
            "two_way": metrics.two_way(correlation, np.arange(len(ids))),
            "psnr": 10 * np.log10(255**2 / np.maximum(error, 1e-3)),
        }
    return found


def means(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Each score's mean over the stimuli that have one."""
    return {key: round(float(np.nanmean(values)), 4) for key, values in scores.items()}


def gains(scores: dict[str, np.ndarray], earlier: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Each score's mean paired gain over earlier models on the same stimuli, and its 95 % bootstrap interval.

    Raises ValueError: the runs have different numbers of stimuli.
    """
    n, n_earlier = (len(each["named"]) for each in (scores, earlier))
    if n != n_earlier:
        raise ValueError(f"the runs have {n} and {n_earlier} test stimuli; compare runs of one demo.n_test")
    found = {}
    for key, values in scores.items():
        gain = values - earlier[key]
        gain = gain[np.isfinite(gain)]
        low, high = statistics.bootstrap_ci(gain, 10000, seed=0)
        found[key] = [round(float(value), 4) for value in (gain.mean(), low, high)]
    return found


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", type=Path, help="its folder, such as results/sub01")
    parser.add_argument("--seed", type=int, default=0, help="demo.seed of the run")
    parser.add_argument("--sets", nargs="+", default=["recon"])
    parser.add_argument("--against", type=Path, help="the same subject's folder, made with earlier models")
    arguments = parser.parse_args()
    now = measure(arguments.subject, arguments.seed, arguments.sets)
    for name, scores in now.items():
        logging.info("%s", json.dumps({"images": name, **means(scores)}))
    if arguments.against:
        past = measure(arguments.against, arguments.seed, arguments.sets)
        for name in arguments.sets:
            logging.info("%s", json.dumps({"images": name, "gain, from, to": gains(now[name], past[name])}))
