"""Alarms that a high score may have another reason than reconstruction.

Four rules with thresholds that no setting changes, so that an alarm means the same in every folder: near-duplicates of
test stimuli among the training stimuli, decoded features that collapse to few dimensions, decoded features that only
tell clusters of stimuli apart, and reconstructions no better than the best training image.

Source: Shirakawa et al. 2024, arXiv 2405.10078, for the questions; the thresholds are ours (docs/evaluation.md).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from brain_diffuser.evaluation import feature_identification, output_dimensions
from brain_diffuser.evaluation.overlap import NEAR_DUPLICATE, Overlap

MOST_DUPLICATED = 0.01
"""The largest share of test stimuli with a near-duplicate."""
LEAST_RATIO = 0.2
"""The smallest participation ratio of a decoded feature, as a share of that of the true one."""
LEAST_TWO_WAY = 0.6
"""Two-way identification above which it is asked where it comes from."""
CHANCE = 0.5
LEAST_BETTER = 0.5
"""The smallest share of metrics in which reconstructions are better than training images."""
FIRES, SILENT, UNMEASURED = "ALARM", "no alarm", "not measured"


class Alarm(NamedTuple):
    """A rule that was applied: its state, the value that decides, and what to read in it."""

    alarm: str
    state: str
    value: str
    rule: str
    meaning: str


def sound(
    overlap: Overlap,
    dimensions: Mapping[str, Sequence[Mapping[str, str]]],
    identification: Sequence[Mapping[str, Any]],
    against: Sequence[Mapping[str, Any]],
) -> list[Alarm]:
    """Apply all rules.

    Parameters
    ----------
    overlap
        Of test and training stimuli.
    dimensions : {feature: rows}
        Those of `output_dimensions`.
    identification : rows
        Those of `feature_identification`.
    against : rows
        Those of `against_training`.
    """
    return [_duplicates(overlap), _collapse(dimensions), _classification(identification), _retrieval(against)]


def _duplicates(overlap: Overlap) -> Alarm:
    has = overlap.near_duplicates > 0
    share = float(has.mean())
    return Alarm(
        "near-duplicates",
        FIRES if share > MOST_DUPLICATED else SILENT,
        f"{has.sum()} of {len(has)} test stimuli, {100 * share:.1f} %",
        f"more than {100 * MOST_DUPLICATED:.0f} % of the test stimuli have a training stimulus with a correlation "
        f"of at least {NEAR_DUPLICATE} in pixels and in CLIP-vision",
        "These stimuli were seen in training. Leave them out of the test stimuli, or split the stimuli otherwise.",
    )


def _collapse(dimensions: Mapping[str, Sequence[Mapping[str, str]]]) -> Alarm:
    ratios = {}
    for feature, rows in dimensions.items():
        ratio = {
            row["of"]: float(row["value"]) for row in rows if row["measure"] == "participation_ratio" and row["value"]
        }
        if ratio.get(output_dimensions.TRUE):
            ratios[feature] = ratio[output_dimensions.DECODED] / ratio[output_dimensions.TRUE]
    fires = any(ratio < LEAST_RATIO for ratio in ratios.values())
    return Alarm(
        "output dimension collapse",
        (FIRES if fires else SILENT) if ratios else UNMEASURED,
        ", ".join(f"{feature} {ratio:.2f}" for feature, ratio in ratios.items()),
        "the participation ratio of a decoded feature of the test stimuli is less than "
        f"{LEAST_RATIO} of that of the true feature",
        "Decoded features differ along few directions, so that few kinds of images can be distinguished.",
    )


def _classification(identification: Sequence[Mapping[str, Any]]) -> Alarm:
    own = {
        (row["feature"], row["candidates"]): row
        for row in identification
        if (row["direction"], row["measure"]) == (feature_identification.FORWARD, "two_way")
    }
    said, fires = [], False
    for feature in dict.fromkeys(feature for feature, _ in own):
        among, within = (
            own.get((feature, each)) for each in (feature_identification.TEST, feature_identification.OWN_CLUSTER)
        )
        if among and within:
            is_high, at_chance = float(among["low"]) > LEAST_TWO_WAY, float(within["low"]) <= CHANCE
            fires |= is_high and at_chance
            numbers = (100 * float(each) for each in (among["mean"], within["mean"], within["low"], within["high"]))
            said.append("{} {:.1f} %, within clusters {:.1f} % [{:.1f}, {:.1f}]".format(feature, *numbers))
    return Alarm(
        "only classification",
        (FIRES if fires else SILENT) if said else UNMEASURED,
        "; ".join(said),
        f"the interval of two-way identification of a decoded feature lies above {100 * LEAST_TWO_WAY:.0f} % among all "
        f"test stimuli, and reaches {100 * CHANCE:.0f} % or less among those of the stimulus' own cluster",
        "Scores may come from which cluster a stimulus belongs to, and from nothing else.",
    )


def _retrieval(against: Sequence[Mapping[str, Any]]) -> Alarm:
    better = [row["metric"] for row in against if float(row["low"]) > 0]
    share = len(better) / len(against) if against else np.nan
    return Alarm(
        "no better than a training image",
        (FIRES if share < LEAST_BETTER else SILENT) if against else UNMEASURED,
        f"better in {len(better)} of {len(against)} metrics{': ' * bool(better)}{', '.join(better)}",
        "the interval of the paired difference between reconstructions and the training images chosen by the decoded "
        f"feature lies above 0 in less than {100 * LEAST_BETTER:.0f} % of the metrics",
        "Looking up a training image would have scored as high.",
    )
