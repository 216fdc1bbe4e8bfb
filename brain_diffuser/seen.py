"""Stage 6: which categories a judge sees in pictures, by classifiers on its features of the training stimuli."""

from collections.abc import Callable, Mapping

import h5py
import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PENALTY = 0.01  # C of scikit-learn, the inverse of the penalty's strength


def embed(
    images: h5py.Dataset, features: Callable[[np.ndarray], np.ndarray], batch_size: int = 32
) -> Float[np.ndarray, "images _"]:
    """A judge's features of stored pictures, uint8 (images, height, width, 3), which pass one batch at a time."""
    starts = range(0, len(images), batch_size)
    return np.concatenate([features(images[start : start + batch_size]) for start in starts])


def probabilities(
    train: Float[np.ndarray, "train dim"],
    shown: Mapping[str, Bool[np.ndarray, " train"]],
    pictures: Mapping[str, Float[np.ndarray, "_ dim"]],
) -> dict[str, dict[str, Float[np.ndarray, " _"]]]:
    """Set of pictures -> category -> probability that each picture shows it.

    One logistic regression per category on standardised features, both classes weighing the same; it knows nothing of
    the brain, nor of the pictures it judges.
    """
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in pictures}
    for category, labels in shown.items():
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000)
        ).fit(train, labels)
        for name, features in pictures.items():
            found[name][category] = classifier.predict_proba(features)[:, 1]
    return found


def reliability(
    probability: Mapping[str, Float[np.ndarray, " test"]], shown: Mapping[str, Bool[np.ndarray, " test"]]
) -> dict[str, float]:
    """Area under the ROC curve on stimuli that the classifiers were not made from; 0.5 is chance."""
    return {category: float(roc_auc_score(shown[category], each)) for category, each in probability.items()}
