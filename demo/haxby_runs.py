"""Haxby et al. 2001, run by run: features decoded by the other runs' ridge, blocks identified."""

import csv
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int
from matplotlib.figure import Figure
from sklearn.linear_model import RidgeClassifier

from brain_diffuser.artifacts import figures, hdf5
from brain_diffuser.decoding import ridge
from demo import haxby


class Labelled(NamedTuple):
    """Betas of all blocks, and what each block showed in which run."""

    betas: hdf5.StimulusArray
    category: np.ndarray
    run: np.ndarray


def labelled(betas: hdf5.StimulusArray, ids: dict[str, int]) -> Labelled:
    """Blocks with the category and run that their images' names tell."""
    names = {number: name for name, number in ids.items()}
    category, run = zip(*(haxby.of_stim_file(names[number]) for number in betas.nsd_id.tolist()), strict=True)
    return Labelled(betas, np.array(category), np.array(run))


def together(train: str | Path, test: str | Path) -> hdf5.StimulusArray:
    """Both splits of an array, train first."""
    parts = hdf5.load(train), hdf5.load(test)
    return hdf5.StimulusArray(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def shuffled(run: Int[np.ndarray, " blocks"], random: np.random.Generator) -> Int[np.ndarray, " blocks"]:
    """For each block another of its run, or itself: labels permuted within runs."""
    order = np.arange(len(run))
    for each in np.unique(run):
        order[run == each] = random.permutation(order[run == each])
    return order


def folds(blocks: Labelled) -> Iterator[tuple[np.ndarray, np.ndarray, ridge.Kernel]]:
    """For each run in turn: the other blocks, its own, and the kernel of the one from the other."""
    for each in np.unique(blocks.run):
        kept, left = np.flatnonzero(blocks.run != each), np.flatnonzero(blocks.run == each)
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
    """Features of each run's blocks, as the other runs' ridge predicts them; block i learns from row order[i]."""
    hdf5.check_aligned("betas", blocks.betas.nsd_id, "features", features.nsd_id)
    predicted = np.empty(features.values.shape, np.float32)
    with TemporaryDirectory() as folder:
        learnt, told = Path(folder, "learnt.h5"), Path(folder, "predicted.h5")
        for kept, left, kernel in folds(blocks):
            hdf5.save(learnt, features.values[order[kept]], blocks.betas.nsd_id[kept])
            ridge.predict(kernel, learnt, told, alpha=alpha, rescale=rescale)
            predicted[left] = hdf5.load(told).values
    return predicted


def identify(
    blocks: Labelled, true: Float[np.ndarray, "blocks features"], found: Float[np.ndarray, "blocks features"]
) -> np.ndarray:
    """The category that each block's features are nearest to: cosine with its mean over the images of other runs.

    The mean over the other runs is taken from both first, of each its own: what is decoded has much in common that the
    images have not, such as blur. No label of the run itself is used.
    """
    named = np.empty_like(blocks.category)
    categories = np.unique(blocks.category)
    for run in np.unique(blocks.run):
        kept, left = blocks.run != run, blocks.run == run
        mean = true[kept].mean(0)
        means = np.stack([true[kept & (blocks.category == each)].mean(0) for each in categories]) - mean
        ours = found[left] - found[kept].mean(0)
        lengths = np.outer(np.linalg.norm(ours, axis=1), np.linalg.norm(means, axis=1))
        named[left] = categories[np.argmax(ours @ means.T / lengths, axis=1)]
    return named


def classify(blocks: Labelled, order: Int[np.ndarray, " blocks"], alpha: float = 100.0) -> np.ndarray:
    """The category that a ridge classifier of the other runs' betas names: what is in them without any image."""
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
    """Share of blocks identified when the ridge learns from labels permuted within runs, for each permutation."""
    random = np.random.default_rng([seed, 1])
    orders = [shuffled(blocks.run, random) for _ in range(permutations)]
    operators = [
        (kept, left, np.linalg.solve(kernel.train + alpha * np.eye(len(kept)), kernel.test.T).T)
        for kept, left, kernel in folds(blocks)
    ]
    shares = []
    for order in orders:
        predicted = np.empty_like(features)
        for kept, left, operator in operators:
            learnt = features[order[kept]]
            predicted[left] = operator @ (learnt - learnt.mean(0)) + learnt.mean(0)
        shares.append(np.mean(identify(blocks, features, predicted) == blocks.category))
    return np.array(shares)


def chance_of(blocks: Labelled, named: np.ndarray, draws: int = 10_000, seed: int = 0) -> float:
    """Probability of as many hits or more if names had nothing to do with blocks: labels permuted within runs."""
    random = np.random.default_rng([seed, 2])
    hits = np.sum(named == blocks.category)
    as_many = sum(np.sum(named == blocks.category[shuffled(blocks.run, random)]) >= hits for _ in range(draws))
    return (1 + as_many) / (1 + draws)


def plot_runs(hits: dict[str, np.ndarray], run: np.ndarray, control_shares: np.ndarray, title: str) -> str:
    """SVG: share of each left-out run's blocks identified, their mean, chance, and the control's range."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    runs = np.unique(run)
    low, high = 100 * control_shares.min(), 100 * control_shares.max()
    axes.axhspan(low, high, color="0.9", label="CLIP-vision, permuted labels: range of means")
    for place, (name, hit) in enumerate(hits.items()):
        shares = [100 * hit[run == each].mean() for each in runs]
        shift = 0.12 * (place - (len(hits) - 1) / 2)
        axes.plot(runs + shift, shares, "o", markersize=5, label=f"{name}: {100 * hit.mean():.1f} %")
        axes.axhline(100 * hit.mean(), color=f"C{place}", linewidth=0.8)
    axes.axhline(100 / len(haxby.OBJECTS), color="black", linestyle=":", label=f"chance, {100 / len(haxby.OBJECTS)} %")
    axes.set(xlabel="run left out", ylabel="blocks identified among 8, %", ylim=(-3, 103), xticks=runs)
    axes.set_title(title, fontsize=9)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figures.svg(figure)


def flat(rows: hdf5.StimulusArray) -> Float32[np.ndarray, "blocks features"]:
    """An array with one row per block, float32."""
    return rows.values.reshape(len(rows.values), -1).astype(np.float32)


def only(features: dict[str, np.ndarray]) -> np.ndarray:
    """What a evaluation network makes of images; of several layers the last."""
    return list(features.values())[-1]


def write_identification(
    folder: Path, blocks: Labelled, named: dict[tuple[str, str], np.ndarray], shares: np.ndarray, dataset_label: str
) -> None:
    """blocks.csv, runs.csv, identification.csv, identification.md and identification.svg; all say what `world` is."""
    chance = f"{1 / len(haxby.OBJECTS):.4f}"
    hits = {key: each == blocks.category for key, each in named.items()}
    summary = [
        (by, labels, len(hit), f"{hit.mean():.4f}", chance, f"{chance_of(blocks, named[by, labels]):.4f}")
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
        (category, run, by, labels, each[place])
        for (by, labels), each in named.items()
        for place, (category, run) in enumerate(zip(blocks.category, blocks.run, strict=True))
    ]
    heads = {
        "identification": ("identified_by", "labels", "blocks", "share", "chance", "p"),
        "runs": ("identified_by", "labels", "run_left_out", "share"),
        "blocks": ("category", "run", "identified_by", "labels", "named"),
    }
    for name, lines in (("identification", summary), ("runs", runs), ("blocks", rows)):
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows((heads[name], *lines))
    table = [heads["identification"], ("---",) * 6, *summary]
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in table)
    (folder / "identification.md").write_text(f"**{dataset_label}**\n\n{text}\n", encoding="utf-8")
    shown = {by: hit for (by, labels), hit in hits.items() if labels == "true" and not by.startswith("first")}
    (folder / "identification.svg").write_text(plot_runs(shown, blocks.run, shares, dataset_label), encoding="utf-8")
