"""Published scores, this run's scores in the same table, and why the two may not be comparable."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brain_diffuser.reporting import score_tables
from brain_diffuser.reporting.score_tables import Column, DatasetLabel, Metrics, Score, label

PUBLISHED = Path(__file__).with_name("published_scores.tsv")
ABOUT = ("system", "subjects", "test_set", "protocol", "source", "verified")
"""The columns of that table that are no metrics."""
TEST_SETS = {982: "old", 1000: "new"}
"""NSD's shared images: after 37 sessions, and after 40."""
VERIFIED = ("yes", "third-party")
"""Read in the source named, or where others quote it. Numbers that nobody has read anywhere are not shown."""


def published_metrics(path: str | Path = PUBLISHED) -> list[str]:
    """The metrics that the table of published scores has, in its order."""
    return [name for name in score_tables.rows_of(path, ABOUT, "\t")[0] if name not in ABOUT]


def published_columns(metrics: Metrics, path: str | Path = PUBLISHED) -> list[Column]:
    """A column for each published metric.

    Raises ValueError: the registry, which `metrics` describes, has no such metric.
    """
    columns = []
    for name in published_metrics(path):
        if name not in metrics:
            raise ValueError(f"{path} has a column {name}, which is no metric; expected one of {', '.join(metrics)}")
        kind = metrics[name][1]
        better = "lower" if kind == "distance" else "higher"
        columns.append(Column(name, label(name, metrics), "", kind == "two_way", better))
    return columns


def read_published(path: str | Path = PUBLISHED) -> list[dict[str, Any]]:
    """Published rows: system, subjects, test_set, protocol, scores {metric: fraction}, source, verified.

    Raises ValueError: a row names no source, or nobody has read its numbers there.
    """
    metrics, rows = published_metrics(path), score_tables.rows_of(path, ABOUT, "\t")
    for row in rows:
        if row["verified"] not in VERIFIED or not row["source"]:
            raise ValueError(
                f"{path}: {row['system']} has source '{row['source']}' and verified '{row['verified']}'; expected a "
                f"source that was read, and {' or '.join(VERIFIED)}. Look the numbers up, or leave the row out."
            )
    return [
        {name: row[name] for name in ABOUT}
        | {"is_ours": False, "scores": {name: float(row[name]) for name in metrics if row[name]}}
        for row in rows
    ]


def our_rows(
    subjects: Mapping[str, Sequence[Score]],
    image_sets: Sequence[str],
    dataset_label: DatasetLabel,
    path: str | Path = PUBLISHED,
) -> list[dict[str, Any]]:
    """This run's decoded sets as rows of the published table: none where it is not about NSD, as published scores are.

    With several subjects: their mean, subject 1, whose ablations are published, and the reconstructions of the others.

    Parameters
    ----------
    subjects : {subject: scores}
    image_sets : names of sets of images
        Those to list; all but the baselines if it is empty.
    dataset_label : DatasetLabel
        What the numbers are about.
    path : path
        The table of published scores.
    """
    if dataset_label != score_tables.NSD:
        return []
    is_several = len(subjects) > 1
    with_mean = {f"mean of {len(subjects)}": score_tables.mean_of_subjects(subjects)} if is_several else {}
    published, rows = set(published_metrics(path)), {}
    for name, scores in {**with_mean, **subjects}.items():
        recon_alone = is_several and name in subjects and name != "sub01"
        for score in scores:
            is_listed = score.images in image_sets or not image_sets
            if not is_listed or score.images in score_tables.BASELINES or (recon_alone and score.images != "recon"):
                continue
            row = {
                "system": f"{dataset_label.name}: {label(score.images)}",
                "subjects": name,
                "test_set": f"{score.n} images",
                "protocol": score.protocol,
                "source": "this run",
                "verified": "",
                "is_ours": True,
                "scores": {},
            }
            rows.setdefault((name, score.images, score.protocol), row)["scores"][score.metric] = score.mean
    return [row for row in rows.values() if row["scores"].keys() & published]


def comparability_notes(dataset_label: DatasetLabel, columns: Sequence[Column], counts: set[int]) -> list[str]:
    """Why this run's scores and the published ones may not be comparable, one sentence each.

    `counts` are the numbers of test images.
    """
    notes, protocols = [], {column.protocol for column in columns}
    if dataset_label != score_tables.NSD:
        notes.append(
            f"The scores of this run ({dataset_label.name}: {dataset_label.about}) are about another brain and other "
            "images. They stand in tables of their own, above, and are not comparable with the published ones."
        )
    elif counts - set(TEST_SETS):
        notes.append(
            f"This run has {', '.join(map(str, sorted(counts)))} test images, the published rows 982 (old) or 1000 "
            "(new): another test."
        )
    notes.append(
        f"This run is scored by the protocol of {' and '.join(map(label, sorted(protocols)))}; protocols differ in the "
        "weights of the evaluation networks and in how images are resized, so scores are comparable only within a "
        "protocol."
    )
    notes.append(
        "Test sets differ: old is 982 images of 37 sessions, new 1000 images of 40 sessions, with more training data."
    )
    notes.append(
        "Systems differ in how many samples they take of an image: MindEye1 keeps the best of 16 by the decoded "
        "embedding, Takagi & Nishimoto average the correlations of 5, Brain-Diffuser and this run take one."
    )
    notes.append(
        "SSIM under the protocol of Brain-Diffuser is the mean over columns of one-dimensional SSIMs, which the "
        "paper's program probably computed (scikit-image up to 0.19); SSIM proper, MindEye's, is some hundredths lower."
    )
    return notes
