"""Haxby et al. 2001, run by run: features decoded by the other runs' ridge, blocks identified."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int
from matplotlib.figure import Figure
from sklearn.linear_model import RidgeClassifier

from brain_diffuser.artifacts import figures, hdf5, tables
from brain_diffuser.decoding import ridge
from demo import haxby


class Labelled(NamedTuple):
    """Betas of all blocks, and what each block showed in which run."""

    betas: hdf5.StimulusArray
    category: np.ndarray
    run: np.ndarray


def with_labels(betas: hdf5.StimulusArray, ids: dict[str, int]) -> Labelled:
    """The blocks with category and run, which the names of their images tell."""
    names = {number: name for name, number in ids.items()}
    category, run = zip(*(haxby.category_and_run(names[number]) for number in betas.nsd_id.tolist()), strict=True)
    return Labelled(betas, np.array(category), np.array(run))


def concatenate(train: str | Path, test: str | Path) -> hdf5.StimulusArray:
    """Both splits of an array, train first."""
    parts = hdf5.load(train), hdf5.load(test)
    return hdf5.StimulusArray(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def permute_within_runs(run: Int[np.ndarray, " blocks"], random: np.random.Generator) -> Int[np.ndarray, " blocks"]:
    """The index of another block of the same run, or of itself, for each block: labels permuted within runs."""
    order = np.arange(len(run))
    for number in np.unique(run):
        order[run == number] = random.permutation(order[run == number])
    return order


def folds(blocks: Labelled) -> Iterator[tuple[np.ndarray, np.ndarray, ridge.Kernel]]:
    """The indices of training and left-out blocks, and the ridge kernel between them, for each run that is left out."""
    for run in np.unique(blocks.run):
        kept, left = np.flatnonzero(blocks.run != run), np.flatnonzero(blocks.run == run)
        parts = (hdf5.StimulusArray(blocks.betas.values[rows], blocks.betas.nsd_id[rows]) for rows in (kept, left))
        yield kept, left, ridge.kernel(*parts)


def held_out(
    blocks: Labelled,
    features: hdf5.StimulusArray,
    order: Int[np.ndarray, " blocks"],
    *,
    alpha: float,
    rescale: str,
) -> Float[np.ndarray, "blocks ..."]:
    """Features of the blocks of each run, predicted by ridge regression on the other runs.

    Parameters
    ----------
    blocks : betas (blocks, voxels)
        The blocks.
    features : (blocks, ...)
        The features of their images.
    order : (blocks,)
        Block i learns from row order[i] of the features.
    alpha
        The penalty of the ridge.
    rescale
        As `ridge.predict` has it.
    """
    hdf5.check_aligned("betas", blocks.betas.nsd_id, "features", features.nsd_id)
    predicted = np.empty(features.values.shape, np.float32)
    with TemporaryDirectory() as folder:
        train, test = Path(folder, "train.h5"), Path(folder, "test.h5")
        for kept, left, kernel in folds(blocks):
            hdf5.save(train, features.values[order[kept]], blocks.betas.nsd_id[kept])
            ridge.predict(kernel, train, test, alpha=alpha, rescale=rescale)
            predicted[left] = hdf5.load(test).values
    return predicted


def identify(
    blocks: Labelled, true: Float[np.ndarray, "blocks features"], predicted: Float[np.ndarray, "blocks features"]
) -> np.ndarray:
    """The category whose mean features, over the images of other runs, each block's features are nearest to (cosine).

    The mean over the other runs is subtracted from each first, because predicted features have much in common, such as
    blur, that features of images do not have. No label of the run itself is used.
    """
    named = np.empty_like(blocks.category)
    categories = np.unique(blocks.category)
    for run in np.unique(blocks.run):
        kept, left = blocks.run != run, blocks.run == run
        mean = true[kept].mean(0)
        means = np.stack([true[kept & (blocks.category == name)].mean(0) for name in categories]) - mean
        centred = predicted[left] - predicted[kept].mean(0)
        lengths = np.outer(np.linalg.norm(centred, axis=1), np.linalg.norm(means, axis=1))
        named[left] = categories[np.argmax(centred @ means.T / lengths, axis=1)]
    return named


def classify(blocks: Labelled, order: Int[np.ndarray, " blocks"], alpha: float = 100.0) -> np.ndarray:
    """The category of each block by a ridge classifier of the betas of the other runs, without features of images."""
    named, betas = np.empty_like(blocks.category), blocks.betas.values
    for run in np.unique(blocks.run):
        kept, left = blocks.run != run, blocks.run == run
        learner = RidgeClassifier(alpha=alpha).fit(betas[kept], blocks.category[order][kept])
        named[left] = learner.predict(betas[left])
    return named


def control(
    blocks: Labelled,
    features: Float[np.ndarray, "blocks features"],
    *,
    alpha: float,
    permutations: int,
    seed: int,
) -> Float[np.ndarray, " permutations"]:
    """The share of identified blocks when the ridge learns from labels permuted within runs, for each permutation.

    Parameters
    ----------
    blocks, features, alpha
        As in `held_out`.
    permutations
        The number of permutations.
    seed
        Of the permutations.
    """
    random = np.random.default_rng([seed, 1])
    orders = [permute_within_runs(blocks.run, random) for _ in range(permutations)]
    operators = [
        (kept, left, np.linalg.solve(kernel.train + alpha * np.eye(len(kept)), kernel.test.T).T)
        for kept, left, kernel in folds(blocks)
    ]
    shares = []
    for order in orders:
        predicted = np.empty_like(features)
        for kept, left, operator in operators:
            train = features[order[kept]]
            predicted[left] = operator @ (train - train.mean(0)) + train.mean(0)
        shares.append(np.mean(identify(blocks, features, predicted) == blocks.category))
    return np.array(shares)


def permutation_p(blocks: Labelled, named: np.ndarray, draws: int = 10_000, seed: int = 0) -> float:
    """The probability of as many hits or more by chance, from labels permuted within runs."""
    random = np.random.default_rng([seed, 2])
    hits = np.sum(named == blocks.category)
    as_many = sum(
        np.sum(named == blocks.category[permute_within_runs(blocks.run, random)]) >= hits for _ in range(draws)
    )
    return (1 + as_many) / (1 + draws)


def plot_runs(hits: dict[str, np.ndarray], run: np.ndarray, control_shares: np.ndarray, title: str) -> str:
    """SVG of the share of identified blocks in each left-out run, the mean, chance, and the range of the control.

    Parameters
    ----------
    hits : {name: (blocks,)}
        Whether each block was identified.
    run : (blocks,)
        The run of each block.
    control_shares : (permutations,)
        The shares of the control.
    title
        The title.
    """
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    runs = np.unique(run)
    low, high = 100 * control_shares.min(), 100 * control_shares.max()
    axes.axhspan(low, high, color="0.9", label="CLIP-vision, permuted labels: range of means")
    for place, (name, hit) in enumerate(hits.items()):
        shares = [100 * hit[run == number].mean() for number in runs]
        shift = 0.12 * (place - (len(hits) - 1) / 2)
        axes.plot(runs + shift, shares, "o", markersize=5, label=f"{name}: {100 * hit.mean():.1f} %")
        axes.axhline(100 * hit.mean(), color=f"C{place}", linewidth=0.8)
    axes.axhline(100 / len(haxby.OBJECTS), color="black", linestyle=":", label=f"chance, {100 / len(haxby.OBJECTS)} %")
    axes.set(xlabel="run left out", ylabel="blocks identified among 8, %", ylim=(-3, 103), xticks=runs)
    axes.set_title(title, fontsize=9)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figures.svg(figure)


def flatten_features(rows: hdf5.StimulusArray) -> Float32[np.ndarray, "blocks features"]:
    """Features with one row per block, float32."""
    return rows.values.reshape(len(rows.values), -1).astype(np.float32)


def last_layer(features: dict[str, np.ndarray]) -> np.ndarray:
    """The features of the last layer of an evaluation network."""
    return list(features.values())[-1]


def write_identification(
    folder: Path, blocks: Labelled, named: dict[tuple[str, str], np.ndarray], shares: np.ndarray, dataset_label: str
) -> None:
    """Write blocks.csv, runs.csv, identification.csv, identification.md and identification.svg.

    Parameters
    ----------
    folder
        The folder.
    blocks
        The blocks.
    named : {(method, labels): (blocks,)}
        The category that each method names.
    shares : (permutations,)
        The shares of the control.
    dataset_label
        What the table and the figure say about the dataset.
    """
    chance = f"{1 / len(haxby.OBJECTS):.4f}"
    hits = {key: names == blocks.category for key, names in named.items()}
    summary = [
        (by, labels, len(hit), f"{hit.mean():.4f}", chance, f"{permutation_p(blocks, named[by, labels]):.4f}")
        for (by, labels), hit in hits.items()
    ]
    for labels, share in ((f"permuted {len(shares)} times, mean", shares.mean()), ("their highest", shares.max())):
        summary.append(("predicted clip_vision", labels, len(blocks.run), f"{share:.4f}", chance, ""))
    runs = [
        (by, labels, run, f"{hit[blocks.run == run].mean():.4f}")
        for (by, labels), hit in hits.items()
        for run in np.unique(blocks.run)
    ]
    rows = [
        (category, run, by, labels, names[place])
        for (by, labels), names in named.items()
        for place, (category, run) in enumerate(zip(blocks.category, blocks.run, strict=True))
    ]
    heads = {
        "identification": ("identified_by", "labels", "blocks", "share", "chance", "p"),
        "runs": ("identified_by", "labels", "run_left_out", "share"),
        "blocks": ("category", "run", "identified_by", "labels", "named"),
    }
    for name, lines in (("identification", summary), ("runs", runs), ("blocks", rows)):
        tables.write_csv(folder / f"{name}.csv", heads[name], lines)
    table = [heads["identification"], ("---",) * 6, *summary]
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in table)
    (folder / "identification.md").write_text(f"**{dataset_label}**\n\n{text}\n", encoding="utf-8")
    shown = {by: hit for (by, labels), hit in hits.items() if labels == "true" and not by.startswith("first")}
    (folder / "identification.svg").write_text(plot_runs(shown, blocks.run, shares, dataset_label), encoding="utf-8")
