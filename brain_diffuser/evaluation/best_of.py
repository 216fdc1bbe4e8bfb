"""Choosing the best of several samples of each reconstruction by the brain, and what that gains.

Samples differ in their seed alone. A chooser sees the samples and what was decoded or measured, and never the
stimulus. The best that any choice could reach is the oracle's, which looks at the stimulus by the very metric.

Source: MindEye (Scotti et al. 2023, arXiv 2305.18274) and MIRAGE (arXiv 2605.17198) keep the best of 16 samples by
decoded embeddings; Second Sight (Kneeland et al. 2023, arXiv 2306.00927) chooses by predicted betas.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int32, UInt8

from brain_diffuser.artifacts import hdf5, image_files, tables
from brain_diffuser.evaluation import metrics, scores, statistics

FIRST, MEAN, CHOSEN, ORACLE = "first sample", "mean of samples", "chosen", "oracle"
COLUMNS = (
    *("images", "metric", "protocol", "n", "mean", "low", "high", "gain", "gain_low", "gain_high"),
    *("agreement", "better", "independent"),
)
BLOCK_ROWS = 32

Scores = Float[np.ndarray, "stimuli samples"]


def by_decoded(decoded: str | Path, samples: Sequence[str | Path]) -> tuple[Int32[np.ndarray, " stimuli"], Scores]:
    """Cosine of the decoded CLIP-vision embedding and that of each sample, every token of which has length 1.

    Memory: one array of embeddings of the test stimuli in float32 and one as it is stored; 1.2 GB of 982.

    Raises ValueError: other stimuli, or embeddings of other sizes.
    """
    like = hdf5.load(decoded)
    found = np.empty((len(like.nsd_id), len(samples)))
    for place, path in enumerate(samples):
        sample = hdf5.load(path)
        hdf5.check_aligned(decoded, like.nsd_id, path, sample.nsd_id)
        if sample.values.shape != like.values.shape:
            raise ValueError(
                f"{path} has embeddings of {sample.values.shape[1:]}, {decoded} of {like.values.shape[1:]}; expected "
                f"one size. {hdf5.rerun(path)}"
            )
        for start in range(0, len(found), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            a, b = (_unit_tokens(each.values[rows]) for each in (like, sample))
            length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            found[rows, place] = np.divide((a * b).sum(1), length, out=np.full(len(a), np.nan), where=length > 0)
    return like.nsd_id, found


def _unit_tokens(embeddings: np.ndarray) -> Float[np.ndarray, "stimuli features"]:
    """Embeddings whose tokens have length 1, flattened; a token of zeros stays."""
    tokens = embeddings.astype(np.float32)
    length = np.linalg.norm(tokens, axis=-1, keepdims=True)
    return np.divide(tokens, length, out=np.zeros_like(tokens), where=length > 0).reshape(len(tokens), -1)


def by_predicted_betas(
    measured: str | Path,
    samples: Sequence[str | Path],
    mean: Float[np.ndarray, " voxels"],
    std: Float[np.ndarray, " voxels"],
) -> tuple[Int32[np.ndarray, " stimuli"], Scores]:
    """Pearson correlation, across voxels, of the measured betas and those that each sample predicts.

    Parameters
    ----------
    measured : path
        Betas of the test stimuli.
    samples : paths
        Betas that the images of a sample predict.
    mean, std : arrays (voxels,)
        Of the training stimuli's betas, by which both are z-scored.

    Raises
    ------
    ValueError
        Other stimuli or voxels.
    """
    found = []
    for path in samples:
        betas = hdf5.load_aligned(measured, path)
        if any(each.values.shape[1] != len(mean) for each in betas):
            raise ValueError(
                f"{path} has {betas[1].values.shape[1]} voxels, {measured} {betas[0].values.shape[1]}, the kernel "
                f"{len(mean)}; expected the same. {hdf5.rerun(path)}"
            )
        own, predicted = ((each.values - np.float32(mean)) / np.float32(std) for each in betas)
        found.append(statistics.pearson_of_rows(own, predicted))
    return hdf5.load(measured).nsd_id, np.stack(found, axis=1)


def winners(found: Scores) -> Int[np.ndarray, " stimuli"]:
    """The sample of each stimulus with the highest score, the first of equals; the first where none was measured."""
    return np.where(np.isnan(found), -np.inf, found).argmax(1)


def write_choice(path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"], found: Scores) -> None:
    """Write a CSV: for each stimulus the number of the chosen sample, from 0, and the scores of all samples."""
    header = ("nsd_id", "chosen", *(f"score_{place}" for place in range(found.shape[1])))
    rows = (
        (stimulus, chosen, *(tables.formatted(value, ".8g") for value in values))
        for stimulus, chosen, values in zip(nsd_id.tolist(), winners(found).tolist(), found, strict=True)
    )
    tables.write_csv(path, header, rows)


def read_choice(path: str | Path) -> tuple[Int32[np.ndarray, " stimuli"], Int[np.ndarray, " stimuli"], Scores]:
    """The ids, the chosen samples and the scores that `write_choice` wrote."""
    rows = tables.read_csv(path, ("nsd_id", "chosen"))
    names = [name for name in rows[0] if name.startswith("score_")] if rows else []
    columns = [tables.numbers(path, rows, name, np.float64) for name in names]
    ids, chosen = (tables.numbers(path, rows, name, np.int32) for name in ("nsd_id", "chosen"))
    return ids, chosen, np.stack(columns, axis=1)


def images(
    chosen: Int[np.ndarray, " stimuli"],
    nsd_id: Int32[np.ndarray, " stimuli"],
    folders: Sequence[str | Path],
    manifests: Sequence[str | Path],
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"]]]:
    """(nsd_id, image) of the chosen sample of each stimulus, in order.

    Parameters
    ----------
    chosen : array (stimuli,)
        The number of the sample, from 0.
    nsd_id : array (stimuli,)
    folders, manifests : paths
        Of the samples, in their order.

    Memory: the images of two samples.
    """
    kept: dict[int, np.ndarray] = {}
    for number, paths in enumerate(zip(folders, manifests, strict=True)):
        rows = np.flatnonzero(chosen == number)
        if len(rows):
            ids, of_sample = image_files.read_folder(*paths)
            hdf5.check_aligned(folders[0], nsd_id, paths[0], ids)
            kept |= {int(row): of_sample[row].copy() for row in rows}
    yield from ((number, kept[row]) for row, number in enumerate(nsd_id.tolist()))


def summarise(
    samples: Sequence[scores.ImageScores],
    chosen: Int[np.ndarray, " stimuli"],
    found: Scores,
    *,
    protocol: str,
    dependent: Sequence[str],
    n_resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of COLUMNS: for each metric the first sample, the mean of all, the chosen one, and the oracle.

    `gain` is that over the mean of the samples of a stimulus, positive where it is better, with its 95 % interval over
    images. `agreement` is the correlation of the chooser's scores with the metric's among the samples of a stimulus:
    what the choice knows. Images of which a sample was not measured are left out.

    Parameters
    ----------
    samples : sequence of ImageScores
        The scores of each sample.
    chosen : array (stimuli,)
        The chosen sample of each stimulus.
    found : array (stimuli, samples)
        The chooser's scores.
    protocol : str
        By which images were scored.
    dependent : names of metrics
        Those that see images by the network by which was chosen.
    n_resamples, seed : int
        Of the bootstrap.
    """
    rows = []
    for place, (metric, kind, _, _) in enumerate(samples[0].metrics):
        table = np.stack([each.metrics[place].scores for each in samples], axis=1)
        measured = np.flatnonzero(~np.isnan(table).any(1))
        table, picked = table[measured], chosen[measured]
        sign = -1 if kind == metrics.LOWER_IS_BETTER else 1
        average = table.mean(1)
        sets = {
            FIRST: table[:, 0],
            MEAN: average,
            CHOSEN: table[np.arange(len(table)), picked],
            ORACLE: (sign * table).max(1) * sign,
        }
        for images_of, values in sets.items():
            mean, (low, high), n = statistics.mean_and_ci(values, n_resamples, seed)
            gain, (gain_low, gain_high), _ = statistics.mean_and_ci(sign * (values - average), n_resamples, seed)
            agreement = _agreement(sign * table, found[measured]) if images_of == CHOSEN else np.nan
            numbers = (mean, low, high, gain, gain_low, gain_high, agreement)
            shown = (tables.formatted(value + 0.0, ".6f") for value in numbers)
            better = "lower" if sign < 0 else "higher"
            cells = (images_of, metric, protocol, n, *shown, better, "no" if metric in dependent else "yes")
            rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def _agreement(table: np.ndarray, found: np.ndarray) -> float:
    """Correlation of two scores of samples after the mean of each stimulus is taken out of both; NaN without scores."""
    known = ~np.isnan(found).any(1)
    a, b = (each[known] - each[known].mean(1, keepdims=True) for each in (table, found))
    return float(statistics.pearson(a.ravel(), b.ravel())) if a.size else np.nan


def write_tables(
    folder: Path, rows: Sequence[Mapping[str, Any]], labels: Mapping[str, Sequence[str]], title: str, by: str
) -> None:
    """Write scores.csv and scores.md.

    Parameters
    ----------
    folder : path
    rows
        Those of `summarise`.
    labels : {metric: (label, kind)}
        What tables call metrics.
    title : str
        Whose scores they are, and of how many samples.
    by : str
        What the samples were chosen by, in words.
    """
    tables.write_csv(folder / "scores.csv", COLUMNS, (row.values() for row in rows))
    lines = [
        f"**{title}**, chosen by {by}; interval: 95 % bootstrap over images.",
        "",
        "| metric | first sample | mean of samples | chosen | gain over the mean | agreement | oracle, which sees the "
        "stimulus |",
        "|" + " --- |" * 7,
    ]
    for metric in dict.fromkeys(row["metric"] for row in rows):
        of_metric = {row["images"]: row for row in rows if row["metric"] == metric}
        label, kind = labels.get(metric, (metric, ""))
        chosen = of_metric[CHOSEN]
        head = f"{label}{' *' * (chosen['independent'] == 'no')}{' %' * (kind == 'two_way')}"
        means = [_shown(of_metric[each], "mean", kind) for each in (FIRST, MEAN, CHOSEN)]
        gain = _shown(chosen, "gain", kind)
        cells = (head, *means, gain, chosen["agreement"][:-3], _shown(of_metric[ORACLE], "mean", kind))
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Gain: over the mean of the samples of the same stimulus, positive where it is better. Agreement: the "
        "correlation of the chooser's scores with the metric's among samples of a stimulus. Oracle: the best sample by "
        "this very metric, which no choice by the brain can pass. `*`: the metric sees images by the network by which "
        "was chosen, and favours the choice.",
        "",
    ]
    (folder / "scores.md").write_text("\n".join(lines), encoding="utf-8")


def _shown(row: Mapping[str, Any], name: str, kind: str) -> str:
    """A number with its interval; of a gain in percent, points."""
    low, high = ("low", "high") if name == "mean" else (f"{name}_low", f"{name}_high")
    if not row[name]:
        return "\N{EN DASH}"
    factor, form = (100, ".1f") if kind == "two_way" else (1, ".3f")
    value, *ends = (format(factor * float(row[key]), form) for key in (name, low, high))
    return f"{value} [{', '.join(ends)}]"
