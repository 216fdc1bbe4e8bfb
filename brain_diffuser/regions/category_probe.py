"""Which category an evaluation network sees in images: a classifier on its features of stimuli and reconstructions.

Optimal images are blurred as reconstructions are. A classifier that knows only sharp stimuli takes all clutter for a
place. It also learns from reconstructions, whose stimuli say what they should show, what decoded images look like.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from brain_diffuser.artifacts import finite, hdf5, image_files, tables
from brain_diffuser.regions import lesions

Embed = Callable[[np.ndarray], np.ndarray]
"""uint8 images (images, height, width, 3) -> features (images, dim)."""
PENALTY = 0.003  # C of scikit-learn, the inverse of the penalty's strength
FOLDS = 5


def embed_stored(images: h5py.Dataset, embed: Embed, batch_size: int = 32) -> Float[np.ndarray, "images _"]:
    """The features of stored images, uint8 (images, height, width, 3), which pass one batch at a time."""
    batches = []
    for start in range(0, len(images), batch_size):
        with finite.from_row(start):
            batches.append(embed(images[start : start + batch_size]))
    return np.concatenate(batches)


def labels(has_category: Sequence[Bool[np.ndarray, " images"]]) -> Int[np.ndarray, " images"]:
    """The number of the first category that each image has, or the number of categories if it has none."""
    return np.stack([*has_category, np.ones(len(has_category[0]), bool)]).argmax(0)


class Examples(NamedTuple):
    """An evaluation network's features of images whose class is known."""

    features: Float[np.ndarray, "images dim"]
    label: Int[np.ndarray, " images"]


def classifier(
    examples: Sequence[Examples], n_classes: int
) -> Callable[[Float[np.ndarray, "images dim"]], Float[np.ndarray, "images classes"]]:
    """A classifier: features -> probability of each of the classes 0, 1, ...

    It is a multinomial logistic regression on standardised features. The sets of examples have the same weight, and so
    have all classes. If all examples are of one class, so is every image.
    """
    features, label = (np.concatenate(parts) for parts in zip(*examples, strict=True))
    if label.min() == label.max():
        return lambda images: np.eye(n_classes)[np.full(len(images), label[0])]
    sizes = [len(labels) for _, labels in examples]
    weight = np.concatenate([np.full(size, max(sizes) / size) for size in sizes])
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=2000)).fit(
        features, label, logisticregression__sample_weight=weight
    )

    def probabilities(images: Float[np.ndarray, "images dim"]) -> Float[np.ndarray, "images classes"]:
        probability = np.zeros((len(images), n_classes))
        probability[:, fitted.classes_] = fitted.predict_proba(images)
        return probability

    return probabilities


def held_out(
    train: Examples,
    reconstructions: Examples,
    sets: Sequence[Float[np.ndarray, "stimuli dim"]],
    n_classes: int,
) -> list[Float[np.ndarray, "stimuli classes"]]:
    """Probabilities for images of the test stimuli, each by a classifier that knows no reconstruction of its stimulus.

    Parameters
    ----------
    train : Examples
        The training stimuli.
    reconstructions : Examples
        Reconstructions of the test stimuli, and the stimuli's classes.
    sets : sequence of arrays (stimuli, dim)
        Features of images of the test stimuli, in the same order.
    n_classes : int
    """
    probabilities = [np.zeros((len(reconstructions.label), n_classes)) for _ in sets]
    fold = np.arange(len(reconstructions.label)) % FOLDS
    for number in np.unique(fold):
        others, left_out = fold != number, fold == number
        known = Examples(reconstructions.features[others], reconstructions.label[others])
        classify = classifier([train, known] if others.any() else [train], n_classes)
        for probability, features in zip(probabilities, sets, strict=True):
            probability[left_out] = classify(features[left_out])
    return probabilities


def recall(probability: Float[np.ndarray, "images classes"], label: Int[np.ndarray, " images"]) -> list[float]:
    """For each class the share of its images that are recognised as such; NaN for a class without images."""
    is_right = probability.argmax(1) == label
    of_classes = (is_right[label == number] for number in range(len(probability[0])))
    return [float(right.mean()) if len(right) else np.nan for right in of_classes]


def write(
    folder: Path,
    embed: Embed,
    categories: Mapping[str, Sequence[str]],
    captions: Mapping[int, Sequence[str]],
    stimuli: Mapping[str, str | Path],
    images: Mapping[str, tuple[str | Path, str | Path]],
) -> None:
    """Write category_probe.csv, probabilities for the optimal images, and category_probe_accuracy.csv.

    Parameters
    ----------
    folder : path
    embed : images -> features
    categories : {category: words}
        A stimulus has the first category of which a caption has a word.
    captions : {nsd_id: captions}
    stimuli : {"train", "test": path}
        Arrays of stimuli.
    images : {"optimal", "recon": (folder, manifest)}
        Optimal images, and the reconstructions of the test stimuli.
    """
    names = (*categories, "none")
    mentions = [lesions.mentions(captions, words) for words in categories.values()]
    features, label = {}, {}
    for split, path in stimuli.items():
        with hdf5.reading(path) as (stored, nsd_id):
            with finite.naming(f"features of {path}", nsd_id):
                features[split] = embed_stored(stored, embed)
            label[split] = labels([np.array([known[n] for n in nsd_id.tolist()]) for known in mentions])
    for name, pair in images.items():
        nsd_id, pixels = image_files.read_folder(*pair)
        with finite.naming(f"features of {pair[0]}", nsd_id):
            features[name] = embed(pixels)
    train = Examples(features["train"], label["train"])
    reconstructions = Examples(features["recon"], label["test"])
    classify = classifier([train, reconstructions], len(names))
    probabilities = held_out(train, reconstructions, [features["test"], features["recon"]], len(names))
    recalled = [np.round(recall(probability, label["test"]), 3).tolist() for probability in probabilities]
    counts = np.bincount(label["test"], minlength=len(names)).tolist()
    header = ("category", "test_stimuli", "recognised_in_stimuli", "recognised_in_reconstructions")
    tables.write_csv(folder / "category_probe_accuracy.csv", header, zip(names, counts, *recalled, strict=True))
    files = [file for file, _, _ in image_files.read_manifest(images["optimal"][1])]
    values = classify(features["optimal"]).round(4).tolist()
    rows = ((file, *row) for file, row in zip(files, values, strict=True))
    tables.write_csv(folder / "category_probe.csv", ("image", *names), rows)
