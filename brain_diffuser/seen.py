"""Stage 6: which category a judge sees in pictures, by a classifier on its features of the training stimuli."""

from collections.abc import Callable, Mapping

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PENALTY = 0.01  # C of scikit-learn, the inverse of the penalty's strength


def embed(
    images: h5py.Dataset, features: Callable[[np.ndarray], np.ndarray], batch_size: int = 32
) -> Float[np.ndarray, "images _"]:
    """A judge's features of stored pictures, uint8 (images, height, width, 3), which pass one batch at a time."""
    starts = range(0, len(images), batch_size)
    return np.concatenate([features(images[start : start + batch_size]) for start in starts])


def labels(
    shown: Mapping[str, Bool[np.ndarray, " images"]],
) -> Int[np.ndarray, " images"]:
    """The number of the first category that each image shows, or how many there are if it shows none."""
    stacked = np.stack([*shown.values(), np.ones(len(next(iter(shown.values()))), bool)])
    return stacked.argmax(0)


def probabilities(
    train: Float[np.ndarray, "train dim"],
    label: Int[np.ndarray, " train"],
    pictures: Mapping[str, Float[np.ndarray, "_ dim"]],
    n_classes: int,
) -> dict[str, Float[np.ndarray, "_ classes"]]:
    """Set of pictures -> probability of each of the classes 0, 1, ... that train images have, for each picture.

    Multinomial logistic regression on standardised features, all classes weighing the same; it knows nothing of the
    brain, nor of the pictures it judges. Where all train images are of one class, so is every picture.
    """
    if label.min() == label.max():
        return {name: np.eye(n_classes)[np.full(len(each), label[0])] for name, each in pictures.items()}
    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=2000)
    ).fit(train, label)
    found = {}
    for name, features in pictures.items():
        found[name] = np.zeros((len(features), n_classes))
        found[name][:, classifier.classes_] = classifier.predict_proba(features)
    return found


def recall(probability: Float[np.ndarray, "images classes"], label: Int[np.ndarray, " images"]) -> list[float]:
    """For each class the share of its images that are recognised as such; NaN for a class without images."""
    right = probability.argmax(1) == label
    return [
        float(right[label == each].mean()) if (label == each).any() else np.nan for each in range(len(probability[0]))
    ]
