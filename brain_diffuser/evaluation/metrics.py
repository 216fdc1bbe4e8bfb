"""Metrics of features: how much an evaluation network's features of a reconstruction resemble those of its stimulus."""

import numpy as np
from jaxtyping import Float, Int

from brain_diffuser.artifacts import finite
from brain_diffuser.evaluation import statistics

PerImage = Float[np.ndarray, " stimuli"]

LOWER_IS_BETTER = "distance"


def compare(
    true_features: Float[np.ndarray, "stimuli features"],
    predicted_features: Float[np.ndarray, "stimuli features"],
    kind: str,
    assigned: Int[np.ndarray, " stimuli"],
) -> tuple[PerImage, PerImage]:
    """A metric of every image, and its chance control: the same metric with the stimuli and images paired by a shuffle.

    Features that do not vary correlate with nothing: what would need such a correlation is NaN.

    Parameters
    ----------
    true_features, predicted_features : array (stimuli, features)
        An evaluation network's features of the stimuli and of their reconstructions, in the same order.
    kind : "two_way" or "distance"
        "two_way" is identification: the share of other stimuli that correlate less with the reconstruction than its
        stimulus does; chance is 0.5, a tie counts against the reconstruction. "distance" is 1 - Pearson correlation;
        lower is better.
    assigned : array (stimuli,) of int
        The stimulus whose reconstruction stands in for each one's in the control (`statistics.cyclic_derangement`).

    Returns
    -------
    scores, shuffled : arrays (stimuli,)

    Raises
    ------
    ValueError
        A single stimulus, an unknown kind, or features that are not finite.

    Source: Ozcelik and VanRullen 2023, arXiv 2303.05334.
    """
    if kind not in KINDS:
        raise ValueError(f"a metric of features is {' or '.join(KINDS)}, got {kind}")
    for features, whose in ((true_features, "the stimuli"), (predicted_features, "the images")):
        finite.check(features, f"the features of {whose}", "Check the evaluation network's weights.")
    correlation = statistics.correlation_matrix(true_features, predicted_features)
    in_order = np.arange(len(correlation))
    return KINDS[kind](correlation, in_order), KINDS[kind](correlation, assigned)


def two_way(correlation: Float[np.ndarray, "stimuli stimuli"], assigned: Int[np.ndarray, " stimuli"]) -> PerImage:
    """Two-way identification of the reconstructions of `assigned` stimuli.

    `correlation` has a row for each stimulus and a column for each reconstruction; see `compare`. Stimuli without a
    correlation are not among the others; a score is NaN if its own correlation is, or if there is no other.

    Raises ValueError: a single stimulus.
    """
    n_stimuli = len(correlation)
    if n_stimuli < 2:
        raise ValueError("two-way identification compares with other stimuli; got 1, expected at least 2")
    own, all_of = correlation[np.arange(n_stimuli), assigned], correlation[:, assigned]
    n_others = np.where(np.isnan(own), 0, (~np.isnan(all_of)).sum(0) - 1)
    n_less = (all_of < own).sum(0)
    return np.divide(n_less, n_others, out=np.full(n_stimuli, np.nan), where=n_others > 0)


def distance(correlation: Float[np.ndarray, "stimuli stimuli"], assigned: Int[np.ndarray, " stimuli"]) -> PerImage:
    """1 - correlation of each stimulus with the reconstruction of its `assigned` one; arguments as of `two_way`."""
    return 1 - correlation[np.arange(len(correlation)), assigned]


KINDS = {"two_way": two_way, "distance": distance}
