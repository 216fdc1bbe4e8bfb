"""Stage 6: which category a evaluation network sees in images, by a classifier on its features of stimuli and reconstructions.

Optimal images are blurred as reconstructions are. A classifier that knows sharp stimuli alone takes all clutter for a
place; from reconstructions, whose stimuli say what they should show, it learns what decoded images look like.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PENALTY = 0.003  # C of scikit-learn, the inverse of the penalty's strength
FOLDS = 5


def embed(
    images: h5py.Dataset, features: Callable[[np.ndarray], np.ndarray], batch_size: int = 32
) -> Float[np.ndarray, "images _"]:
    """An evaluation network's features of stored images, uint8 (images, height, width, 3), which pass one batch at a time."""
    starts = range(0, len(images), batch_size)
    return np.concatenate([features(images[start : start + batch_size]) for start in starts])


def labels(
    shown: Mapping[str, Bool[np.ndarray, " images"]],
) -> Int[np.ndarray, " images"]:
    """The number of the first category that each image shows, or how many there are if it shows none."""
    stacked = np.stack([*shown.values(), np.ones(len(next(iter(shown.values()))), bool)])
    return stacked.argmax(0)


class Examples(NamedTuple):
    """An evaluation network's features of images whose class is known."""

    features: Float[np.ndarray, "images dim"]
    label: Int[np.ndarray, " images"]


def classifier(
    examples: Sequence[Examples], n_classes: int
) -> Callable[[Float[np.ndarray, "images dim"]], Float[np.ndarray, "images classes"]]:
    """Features -> probability of each of the classes 0, 1, ...

    Multinomial logistic regression on standardised features, learned from sets of examples that weigh the same, and so
    do all classes. Where all examples are of one class, so is every image.
    """
    features, label = (np.concatenate(each) for each in zip(*examples, strict=True))
    if label.min() == label.max():
        return lambda images: np.eye(n_classes)[np.full(len(images), label[0])]
    largest = max(len(each.label) for each in examples)
    weight = np.concatenate([np.full(len(each.label), largest / len(each.label)) for each in examples])
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=2000)).fit(
        features, label, logisticregression__sample_weight=weight
    )

    def probabilities(images: Float[np.ndarray, "images dim"]) -> Float[np.ndarray, "images classes"]:
        found = np.zeros((len(images), n_classes))
        found[:, fitted.classes_] = fitted.predict_proba(images)
        return found

    return probabilities


def held_out(
    train: Examples,
    made: Examples,
    sets: Sequence[Float[np.ndarray, "stimuli dim"]],
    n_classes: int,
) -> list[Float[np.ndarray, "stimuli classes"]]:
    """Probabilities for images of the stimuli of `made`, each by a classifier that knows no image made of it."""
    found = [np.zeros((len(made.label), n_classes)) for _ in sets]
    fold = np.arange(len(made.label)) % FOLDS
    for each in np.unique(fold):
        others, own = fold != each, fold == each
        known = Examples(made.features[others], made.label[others])
        classify = classifier([train, known] if others.any() else [train], n_classes)
        for probability, features in zip(found, sets, strict=True):
            probability[own] = classify(features[own])
    return found


def recall(probability: Float[np.ndarray, "images classes"], label: Int[np.ndarray, " images"]) -> list[float]:
    """For each class the share of its images that are recognised as such; NaN for a class without images."""
    right = probability.argmax(1) == label
    return [
        float(right[label == each].mean()) if (label == each).any() else np.nan for each in range(len(probability[0]))
    ]
