"""Stage 6: which categories a judge sees in pictures, by classifiers on its features of the training stimuli."""

from collections.abc import Callable, Iterable, Mapping
from itertools import batched

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PENALTY = 0.01  # C of scikit-learn, the inverse of the penalty's strength


def embed(images: Iterable[np.ndarray], features: Callable[[np.ndarray], np.ndarray]) -> Float[np.ndarray, "images _"]:
    """A judge's features of pictures (uint8, height, width, 3) that pass one batch at a time."""
    return np.concatenate([features(np.stack(batch)) for batch in batched(images, 32)])


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
