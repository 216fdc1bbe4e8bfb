"""The tables of scores as Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from brain_diffuser.reporting import published_scores, score_tables
from brain_diffuser.reporting.score_tables import NONE, Column, DatasetLabel, Metrics, Score, label


def markdown(
    scores: Mapping[str, Path], metrics: Metrics, dataset_label: DatasetLabel, published: Path | None = None
) -> str:
    """The tables of scores as Markdown: of each subject and of their mean, and, on request, published scores.

    Parameters
    ----------
    scores : {subject: CSV of scores}
    metrics : {metric: (label, kind)}
        As the registry of metrics describes them.
    dataset_label : DatasetLabel
        What the numbers are about.
    published : path, optional
        A table of published scores.
    """
    subjects = {name: score_tables.read_scores(path) for name, path in scores.items()}
    columns = score_tables.columns_of([score for rows in subjects.values() for score in rows], metrics)
    lines = []
    for table in score_tables.tables(subjects, columns, []):
        lines += _table(table, columns, dataset_label)
    if published:
        lines += _published(
            subjects, columns, published_scores.published_columns(metrics, published), dataset_label, published
        )
    return "\n".join(lines)


def _table(table: dict, columns: Sequence[Column], dataset_label: DatasetLabel) -> list[str]:
    """The lines of one table: for each set of images its scores, and those of the shuffled pairing."""
    prefix = f"{dataset_label.name}: " if dataset_label.disclaimer else ""
    rows = [["images", *map(_head, columns)]]
    for row in (row for group in table["groups"] for row in group["rows"]):
        pairs = [(cell["column"], cell["score"]) for cell in row["cells"]]
        name = prefix + label(row["name"])
        rows.append([name, *(_with_interval(column, score) if score else NONE for column, score in pairs)])
        shuffled = (column.format(score.shuffled) if score else NONE for column, score in pairs)
        rows.append([f"{name}, shuffled", *shuffled])
    rows.append(["chance", *(column.format(table["chance"].get(column)) for column in columns)])
    title = f"**{prefix or f'{dataset_label.name}, '}{table['name']}**: {table['note']}"
    return [title, "", *_pipes(rows), ""]


def _published(
    subjects: Mapping[str, Sequence[Score]],
    columns: Sequence[Column],
    published_columns: Sequence[Column],
    dataset_label: DatasetLabel,
    path: Path,
) -> list[str]:
    """The lines of the table of published scores, after this run's if they are about NSD as well."""
    rows = [["system", "subjects", "test set", *map(_head, published_columns), "verified", "source"]]
    ours = published_scores.our_rows(subjects, [], dataset_label, path)
    for row in [*ours, *published_scores.read_published(path)]:
        values = (column.format(row["scores"].get(column.metric)) for column in published_columns)
        rows.append([row["system"], row["subjects"], row["test_set"], *values, row["verified"], row["source"]])
    counts = {score_tables.n_images(scores) for scores in subjects.values() if scores}
    notes = published_scores.comparability_notes(dataset_label, columns, counts)
    return ["**Published scores**: " + " ".join(notes), "", *_pipes(rows), ""]


def _head(column: Column) -> str:
    return f"{column.label}{' %' * column.percent}"


def _with_interval(column: Column, score: Score) -> str:
    """The mean, and in brackets its interval if there is one."""
    interval = ""
    if score.low is not None and score.high is not None:
        interval = f" ({column.format(score.low)} to {column.format(score.high)})"
    return column.format(score.mean) + interval


def _pipes(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]
