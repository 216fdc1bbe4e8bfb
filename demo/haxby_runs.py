"""Haxby et al. 2001, run by run: features decoded by the ridge of the other runs, and blocks identified by them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from brain_diffuser.artifacts import figures, hdf5, image_files, tables
from brain_diffuser.decoding import ridge
from demo import haxby

STAGES = {"stage1": "stage-1 reconstructions", "recon": "reconstructions"}
"""Folders of images, and what tables call them."""
COLUMNS = {
    "identification": ("identified_by", "labels", "blocks", "share", "chance", "p"),
    "runs": ("identified_by", "labels", "run_left_out", "share"),
    "blocks": ("category", "run", "identified_by", "labels", "named"),
}


class Labelled(NamedTuple):
    """Betas of all blocks, and the category and run of each block."""

    betas: hdf5.StimulusArray
    category: np.ndarray
    run: np.ndarray


def with_labels(betas: hdf5.StimulusArray, ids: dict[str, int]) -> Labelled:
    """Blocks with the category and run in the names of their images."""
    names = {number: name for name, number in ids.items()}
    category, run = zip(*(haxby.of_stim_file(names[number]) for number in betas.nsd_id.tolist()), strict=True)
    return Labelled(betas, np.array(category), np.array(run))


def concatenate(train: str | Path, test: str | Path) -> hdf5.StimulusArray:
    """Both splits of an array, train first."""
    splits = hdf5.load(train), hdf5.load(test)
    return hdf5.StimulusArray(*(np.concatenate(arrays) for arrays in zip(*splits, strict=True)))


def shuffled(run: Int[np.ndarray, " blocks"], random: np.random.Generator) -> Int[np.ndarray, " blocks"]:
    """For each block another of its run, or itself: labels permuted within runs."""
    order = np.arange(len(run))
    for number in np.unique(run):
        order[run == number] = random.permutation(order[run == number])
    return order


def order_of(labels: str, run: Int[np.ndarray, " blocks"], seed: int) -> Int[np.ndarray, " blocks"]:
    """The block whose features each block learns from: itself, or, if `labels` is "permuted", another of its run."""
    return shuffled(run, np.random.default_rng([seed, 0])) if labels == "permuted" else np.arange(len(run))


def folds(blocks: Labelled) -> Iterator[tuple[np.ndarray, np.ndarray, ridge.Kernel]]:
    """For each run in turn: the blocks of the other runs, those of the run, and the kernel between them."""
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
    """Features of each run's blocks, as the ridge of the other runs predicts them.

    Parameters
    ----------
    blocks : Labelled
    features : StimulusArray
        Of the blocks, in the same order.
    order : array (blocks,)
        Block i learns from row order[i].
    alpha : float, above 0
        The penalty of the ridge.
    rescale : "train_oof", "test" or "none"
        How predictions are rescaled.
    """
    hdf5.check_aligned("betas", blocks.betas.nsd_id, "features", features.nsd_id)
    predicted = np.empty(features.values.shape, np.float32)
    with TemporaryDirectory() as folder:
        learnt, out_path = Path(folder, "learnt.h5"), Path(folder, "predicted.h5")
        for kept, left, kernel in folds(blocks):
            hdf5.save(learnt, features.values[order[kept]], blocks.betas.nsd_id[kept])
            ridge.predict(kernel, learnt, out_path, alpha=alpha, rescale=rescale)
            predicted[left] = hdf5.load(out_path).values
    return predicted


def identify(
    blocks: Labelled, true: Float[np.ndarray, "blocks features"], decoded: Float[np.ndarray, "blocks features"]
) -> np.ndarray:
    """The category that each block's decoded features are nearest to, by cosine with the category's mean.

    The mean of a category is that of the true features in the other runs. From true and from decoded features their own
    mean over the other runs is subtracted first: decoded features have much in common that true features have not, such
    as blur. No label of the run itself is used. A block whose features do not differ from that mean has no name, "".
    """
    named = np.empty_like(blocks.category)
    categories = np.unique(blocks.category)
    for run in np.unique(blocks.run):
        kept, left = blocks.run != run, blocks.run == run
        mean = true[kept].mean(0)
        means = np.stack([true[kept & (blocks.category == name)].mean(0) for name in categories]) - mean
        centred = decoded[left] - decoded[kept].mean(0)
        lengths = np.outer(np.linalg.norm(centred, axis=1), np.linalg.norm(means, axis=1))
        products = centred @ means.T
        cosines = np.divide(products, lengths, out=np.full_like(products, -np.inf), where=lengths > 0)
        named[left] = np.where((lengths > 0).any(1), categories[np.argmax(cosines, axis=1)], "")
    return named


def classify(blocks: Labelled, order: Int[np.ndarray, " blocks"], alpha: float = 100.0) -> np.ndarray:
    """The category that a ridge classifier of the other runs' betas names: the information in betas, without images."""
    from sklearn.linear_model import RidgeClassifier

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
    """Share of blocks identified when the ridge learns from labels permuted within runs, for each permutation.

    Parameters
    ----------
    blocks : Labelled
    features : array (blocks, features)
    alpha : float, above 0
        The penalty of the ridge.
    permutations : int
    seed : int
        Of the permutations.
    """
    random = np.random.default_rng([seed, 1])
    orders = [shuffled(blocks.run, random) for _ in range(permutations)]
    operators = [(kept, left, ridge.rows_of_test(kernel, alpha)) for kept, left, kernel in folds(blocks)]
    shares = []
    for order in orders:
        predicted = np.empty_like(features)
        for kept, left, operator in operators:
            learnt = features[order[kept]]
            predicted[left] = operator @ (learnt - learnt.mean(0)) + learnt.mean(0)
        shares.append(np.mean(identify(blocks, features, predicted) == blocks.category))
    return np.array(shares)


def p_value(blocks: Labelled, named: np.ndarray, draws: int = 10_000, seed: int = 0) -> float:
    """Probability of at least as many hits by chance: of labels permuted within runs."""
    random = np.random.default_rng([seed, 2])
    hits = np.sum(named == blocks.category)
    as_many = sum(np.sum(named == blocks.category[shuffled(blocks.run, random)]) >= hits for _ in range(draws))
    return (1 + as_many) / (1 + draws)


def plot_runs(hits: dict[str, np.ndarray], run: np.ndarray, control_shares: np.ndarray, title: str) -> str:
    """SVG: share of blocks identified in each run left out, the mean, chance, and the range of the control."""
    from matplotlib.figure import Figure

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
    """An array with one row per block, float32."""
    return rows.values.reshape(len(rows.values), -1).astype(np.float32)


def last_features(features: dict[str, np.ndarray]) -> np.ndarray:
    """The features of an evaluation network's last metric."""
    return list(features.values())[-1]


def identify_by_all(
    blocks: Labelled,
    true: Mapping[str, Float[np.ndarray, "blocks features"]],
    predicted: Mapping[tuple[str, str], str | Path],
    stimuli: np.ndarray,
    images: Mapping[tuple[str, str], tuple[str | Path, str | Path]],
    networks: Mapping[str, Any],
    seed: int,
) -> dict[tuple[str, str], np.ndarray]:
    """{(what identifies, labels): the category that it names for each block}.

    Parameters
    ----------
    blocks : Labelled
    true : {feature: array (blocks, features)}
    predicted : {(labels, feature): path}
        Features of the blocks, predicted from other runs; `labels` is "true" or "permuted".
    stimuli : uint8 array (blocks, height, width, 3)
    images : {(labels, stage): (folder, manifest)}
        Of each stage in STAGES.
    networks : {name: EvaluationNetwork}
    seed : int
        Of the permuted labels.

    Raises
    ------
    ValueError
        Images of other blocks.
    """
    of_stimuli = {name: last_features(network.features(stimuli)) for name, network in networks.items()}
    named = {}
    for labels in dict.fromkeys(labels for labels, _ in predicted):
        named["plain classifier of betas", labels] = classify(blocks, order_of(labels, blocks.run, seed))
        for feature, features in true.items():
            decoded = flatten_features(hdf5.load(predicted[labels, feature]))
            named[f"predicted {feature}", labels] = identify(blocks, features, decoded)
        for stage, words in STAGES.items():
            folder, manifest = images[labels, stage]
            ids, reconstructions = image_files.read_folder(folder, manifest)
            hdf5.check_aligned("betas", blocks.betas.nsd_id, folder, ids)
            for name, network in networks.items():
                decoded = last_features(network.features(reconstructions))
                named[f"{words}, by {name}", labels] = identify(blocks, of_stimuli[name], decoded)
    return named


def write_identification(
    folder: Path, blocks: Labelled, named: dict[tuple[str, str], np.ndarray], shares: np.ndarray, dataset_label: str
) -> None:
    """Write identification, runs and blocks as CSV, identification.md, and the plot identification.svg.

    Parameters
    ----------
    folder : path
    blocks : Labelled
    named : {(what identifies, labels): categories (blocks,)}
    shares : array (permutations,)
        The result of `control`.
    dataset_label : str
        What the numbers are about; it stands in each file that is read by itself.
    """
    hits = {key: categories == blocks.category for key, categories in named.items()}
    summary = _summary(blocks, named, hits, shares)
    runs = [
        (by, labels, run, f"{hit[blocks.run == run].mean():.4f}")
        for (by, labels), hit in hits.items()
        for run in np.unique(blocks.run)
    ]
    rows = [
        (category, run, by, labels, categories[place])
        for (by, labels), categories in named.items()
        for place, (category, run) in enumerate(zip(blocks.category, blocks.run, strict=True))
    ]
    for name, lines in (("identification", summary), ("runs", runs), ("blocks", rows)):
        tables.write_csv(folder / f"{name}.csv", COLUMNS[name], lines)
    lines = [COLUMNS["identification"], ("---",) * 6, *summary]
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    (folder / "identification.md").write_text(f"**{dataset_label}**\n\n{text}\n", encoding="utf-8")
    plotted = {
        by: hit for (by, labels), hit in hits.items() if labels == "true" and not by.startswith(STAGES["stage1"])
    }
    (folder / "identification.svg").write_text(plot_runs(plotted, blocks.run, shares, dataset_label), encoding="utf-8")


def _summary(
    blocks: Labelled,
    named: dict[tuple[str, str], np.ndarray],
    hits: dict[tuple[str, str], np.ndarray],
    shares: np.ndarray,
) -> list[tuple]:
    """Rows of the table identification: share of blocks and its p value; at the end the control."""
    chance = f"{1 / len(haxby.OBJECTS):.4f}"
    rows = [
        (by, labels, len(hit), f"{hit.mean():.4f}", chance, f"{p_value(blocks, named[by, labels]):.4f}")
        for (by, labels), hit in hits.items()
    ]
    for labels, share in ((f"permuted {len(shares)} times, mean", shares.mean()), ("their highest", shares.max())):
        rows.append(("predicted clip_vision", labels, len(blocks.run), f"{share:.4f}", chance, ""))
    return rows
