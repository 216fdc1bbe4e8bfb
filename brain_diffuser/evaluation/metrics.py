"""Metrics of features: how much an evaluation network's features of a reconstruction resemble those of its stimulus."""

import numpy as np
from jaxtyping import Float, Int

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

    Features that do not vary correlate 0 with everything.

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
        A single stimulus, or an unknown kind.

    Source: Ozcelik and VanRullen 2023, arXiv 2303.05334.
    """
    if kind not in KINDS:
        raise ValueError(f"a metric of features is {' or '.join(KINDS)}, got {kind}")
    correlation = np.nan_to_num(statistics.correlation_matrix(true_features, predicted_features))
    in_order = np.arange(len(correlation))
    return KINDS[kind](correlation, in_order), KINDS[kind](correlation, assigned)


def two_way(correlation: Float[np.ndarray, "stimuli stimuli"], assigned: Int[np.ndarray, " stimuli"]) -> PerImage:
    """Two-way identification of the reconstructions of `assigned` stimuli.

    `correlation` has a row for each stimulus and a column for each reconstruction; see `compare`.

    Raises ValueError: a single stimulus.
    """
    n_stimuli = len(correlation)
    if n_stimuli < 2:
        raise ValueError("two-way identification compares with other stimuli; got 1, expected at least 2")
    return (correlation[:, assigned] < correlation[np.arange(n_stimuli), assigned]).sum(0) / (n_stimuli - 1)


def distance(correlation: Float[np.ndarray, "stimuli stimuli"], assigned: Int[np.ndarray, " stimuli"]) -> PerImage:
    """1 - correlation of each stimulus with the reconstruction of its `assigned` one; arguments as of `two_way`."""
    return 1 - correlation[np.arange(len(correlation)), assigned]


KINDS = {"two_way": two_way, "distance": distance}
