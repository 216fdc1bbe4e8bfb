"""Tables of the documentation with numbers of the demo, filled in again from the demo run.

python -m docs_tools.demo_tables    # those whose results are there; make docs-figures makes the results first

A table stands between "<!-- measured NAME: begin -->" and "<!-- measured NAME: end -->".
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from brain_diffuser.artifacts import tables
from brain_diffuser.evaluation import guidance_effect, scores
from demo.training import measure
from docs_tools import expected_ranges

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = "docs_tools/figures.yaml"
FEATURES = {"vdvae": "VDVAE", "clip_text": "CLIP-text", "clip_vision": "CLIP-vision"}
METRICS = {
    "pix_corr": ("PixCorr", 1, 3),
    "ssim": ("SSIM", 1, 3),
    "efficientnet_lite0": ("EffNet-Lite0, two-way %", 100, 1),
    "efficientnet_lite0_distance": ("EffNet-Lite0, distance", 1, 3),
    "clip": ("CLIP, two-way %", 100, 1),
}
"""Heading, factor and digits of a metric in a table."""
SCORERS = ("pixels", "efficientnet_lite0", "clip")
ABLATED = {
    "stage1": "stage-1 reconstructions",
    "recon": "reconstructions",
    "without_vdvae": "without VDVAE",
    "without_text": "without CLIP-text",
    "without_vision": "without CLIP-vision",
    "true_features": "with true features",
    "autoencoder": "stimuli through the autoencoder",
}
"""Sets of images, and what the table calls them."""
GUIDED = {
    "neuraldiffuser": "recon",
    "neuraldiffuser_true": "recon",
    "neuraldiffuser_shuffled": "recon",
}
"""Guided sets, and what differs from each in guidance alone."""

Row = Mapping[str, Any]
Cells = list[list[str]]


class Table(NamedTuple):
    """A table of a page.

    Parameters
    ----------
    name : str
        Between its marks.
    page : str
        File in docs/.
    targets : tuple of str
        What Snakemake is asked for.
    cells : function
        Its rows, the first of which is the heading, from the folder `results`.
    """

    name: str
    page: str
    targets: tuple[str, ...]
    cells: Callable[[Path], Cells]


def the_row(rows: Sequence[Row], **chosen: str) -> Row:
    """The only row with these cells.

    Raises ValueError: there is none, or more than one.
    """
    found = [row for row in rows if all(row[name] == value for name, value in chosen.items())]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows have {chosen}; expected 1")
    return found[0]


def number(text: str, digits: int, factor: float = 1, sign: bool = False) -> str:
    """A cell's number, times a factor, with so many digits behind the point."""
    value = round(factor * float(text), digits) + 0.0  # no -0.0
    return f"{value:{'+' if sign else ''},.{digits}f}"


def interval(row: Row, value: str = "mean", digits: int = 1, factor: float = 1, sign: bool = False) -> str:
    """A number and its 95 % interval, which the row has in low and high."""
    middle, low, high = (number(row[name], digits, factor, sign) for name in (value, "low", "high"))
    return f"{middle} [{low}, {high}]"


def _means(rows: Sequence[Row], images: str, metrics: Sequence[str]) -> list[str]:
    """Scores of a set of images with their intervals."""
    return [
        interval(the_row(rows, images=images, metric=metric), digits=METRICS[metric][2], factor=METRICS[metric][1])
        for metric in metrics
    ]


def _differences(rows: Sequence[Row], images: str, metrics: Sequence[str]) -> list[str]:
    """Paired differences of a set of images from what it is compared with, with their intervals."""
    found = []
    for metric in metrics:
        _, factor, digits = METRICS[metric]
        found.append(interval(the_row(rows, images=images, metric=metric), "difference", digits, factor, True))
    return found


def _files(sets: Iterable[str]) -> tuple[str, ...]:
    """The scores of every image of some sets."""
    return tuple(
        f"results/sub01/perceptual_scores/{images}/{scorer}.csv" for images in dict.fromkeys(sets) for scorer in SCORERS
    )


def _scored(results: Path, sets: Iterable[str]) -> dict[str, scores.ImageScores]:
    """What those files say."""
    return {
        images: scores.read_per_image([results.parent / file for file in _files([images])])
        for images in dict.fromkeys(sets)
    }


def _headings(metrics: Sequence[str]) -> list[str]:
    return [METRICS[metric][0] for metric in metrics]


def models(results: Path) -> Cells:
    """Objects that are named in stimuli and in images, and two-way identification of the images."""
    titles = {
        "truth": "stimuli",
        "references/autoencoder": "stimuli through the autoencoder",
        "recon": "reconstructions",
        "stage1": "stage-1 reconstructions",
    }
    found = measure.measure(results / "sub01", 0, [name for name in titles if name != "truth"])
    cells = [["images", "objects named, %", "of scenes with one object, %", "two-way identification, %"]]
    for name, title in titles.items():
        mean = {key: f"{100 * value:.1f}" for key, value in measure.means(found[name]).items()}
        cells.append([title, mean["named"], mean["single"], mean["two_way"] if name != "truth" else ""])
    return cells


def penalties(results: Path) -> Cells:
    """The penalty in config.yaml beside that chosen by leave-one-out; 3,162 is the grid's step next to 3,000."""
    cells = [["feature", "`config.yaml`", "chosen", "leave-one-out correlation", "with 3,162"]]
    for feature, label in FEATURES.items():
        rows = tables.read_csv(results / f"sub01/ridge/alpha_{feature}.csv")
        best = the_row(rows, chosen="yes")
        near = min(rows, key=lambda row: abs(float(row["alpha"]) - 3162))
        correlations = [number(row["correlation"], 3) for row in (best, near)]
        cells.append([label, "3,000", f"{float(best['alpha']):,.0f}", *correlations])
    return cells


def bottleneck(results: Path) -> Cells:
    """Scores of decoded CLIP-vision by the number of dimensions of the betas."""
    rows = [
        row
        for row in tables.read_csv(results / "sub01/bottleneck/scores.csv")
        if row["feature"] == "clip_vision" and row["measure"] == "correlation"
    ]

    def score(**chosen: str) -> str:
        row = the_row(rows, **chosen)
        return f"{number(row['mean'], 3)} ({number(row['normalised'], 0, 100)})"

    cells = [["k", "bottleneck", "principal components"]]
    for k in ("1", "5", "20", "50", "200"):
        cells.append([k, score(curve="bottleneck", rank=k), score(curve="voxel_pca", rank=k)])
    cells.append(["ridge without a bottleneck", score(curve="ridge"), ""])
    cells.append(["ridge on noise betas", score(curve="random"), ""])
    return cells


def scaling(results: Path) -> Cells:
    """Correlation of decoded and true features by amount of training data, and the gain for twice as much."""
    means = [row for row in tables.read_csv(results / "sub01/scaling/scores.csv") if row["measure"] == "correlation"]
    slopes = [row for row in tables.read_csv(results / "sub01/scaling/slopes.csv") if row["measure"] == "correlation"]
    said = {
        "stimuli": ("{amount} training stimuli", "per doubling of stimuli"),
        "repeats": ("{amount} repeat of three", "of repeats"),
        "sessions": ("{amount} trials from the first on", "of trials from the first on"),
        "voxels": ("{amount} voxels", "of voxels"),
    }

    def line(title: str, axis: str, amount: float) -> list[str]:
        found = []
        for feature in FEATURES:
            of_axis = [
                float(row["mean"])
                for row in means
                if row["axis"] == axis and row["feature"] == feature and float(row["amount"]) == amount
            ]
            found.append(f"{sum(of_axis) / len(of_axis):.3f}")
        return [title, *found]

    amounts = {axis: [float(row["amount"]) for row in means if row["axis"] == axis] for axis in said}
    cells = [["", *FEATURES.values()]]
    for axis, (title, _) in said.items():
        least = min(amounts[axis])
        cells.append(line(title.format(amount=f"{least:,.0f}"), axis, least))
    cells.append(line("all", "all", max(float(row["amount"]) for row in means if row["axis"] == "all")))
    for axis, (_, title) in said.items():
        of_features = (the_row(slopes, axis=axis, feature=feature) for feature in FEATURES)
        cells.append([title, *(interval(row, "per_doubling", 3, sign=True) for row in of_features)])
    return cells


def identification(results: Path) -> Cells:
    """Identification of stimuli by decoded features, and participation ratios."""
    rows = tables.read_csv(results / "sub01/feature_identification/identification.csv")
    cells = [
        [
            "decoded to stimuli, percent",
            *("two-way, among test", "two-way, within clusters"),
            *("first of all test (chance)", "first of all stimuli (chance)"),
            "participation ratio, decoded / true",
        ]
    ]
    for feature, label in FEATURES.items():
        of_feature = [row for row in rows if row["feature"] == feature and row["direction"] == "decoded to stimuli"]
        line = [label]
        for candidates in ("test", "test, own cluster"):
            line.append(interval(the_row(of_feature, candidates=candidates, measure="two_way"), factor=100))
        for candidates in ("test", "test and training"):
            row = the_row(of_feature, candidates=candidates, measure="top_1")
            line.append(f"{interval(row, factor=100)} ({number(row['chance'], 2, 100)})")
        dimensions = tables.read_csv(results / f"sub01/output_dimensions/{feature}.csv")
        ratios = (
            number(the_row(dimensions, of=of, measure="participation_ratio")["value"], 1) for of in ("decoded", "true")
        )
        cells.append([*line, " / ".join(ratios)])
    return cells


def against_training(results: Path) -> Cells:
    """Reconstructions beside the best training images, and the paired difference."""
    rows = tables.read_csv(results / "sub01/spurious/against_training.csv")
    metrics = tuple(METRICS)
    of = [the_row(rows, metric=metric) for metric in metrics]
    cells = [["", *_headings(metrics)]]
    titles = {
        "recon": "reconstruction",
        "nearest_training": "best training image",
        "oracle": "best training image, oracle",
    }
    scale = [METRICS[metric][1:] for metric in metrics]
    for column, title in titles.items():
        cells.append(
            [title, *(number(row[column], digits, factor) for row, (factor, digits) in zip(of, scale, strict=True))]
        )
    better = (
        interval(row, "difference", digits, factor, True) for row, (factor, digits) in zip(of, scale, strict=True)
    )
    cells.append(["reconstruction better by", *better])
    return cells


def brain_correlation(results: Path) -> Cells:
    """Correlation of the betas that images predict with measured ones."""
    rows = tables.read_csv(results / "sub01/brain/brain_correlation.csv")
    cells = [["images", "all voxels", "shuffled", "V1"]]
    for images in dict.fromkeys(row["images"] for row in rows):
        everywhere, early = (the_row(rows, images=images, region=region) for region in ("all", "V1"))
        both = (interval(everywhere, "correlation", 2), number(everywhere["shuffled"], 2))
        cells.append([images.replace("_", " "), *both, number(early["correlation"], 2)])
    return cells


def ablations(results: Path) -> Cells:
    """Scores of reconstructions, of variants of them, and of what the stages before leave."""
    metrics = tuple(METRICS)
    rows = scores.summarise(_scored(results, ABLATED), protocol="", n_resamples=2000, seed=0)
    cells = [["images", *_headings(metrics)]]
    for images, title in ABLATED.items():
        of_images = [{key: str(value) for key, value in row.items()} for row in rows if row["images"] == images]
        cells.append([title, *_means(of_images, images, metrics)])
    return cells


def generators(results: Path) -> Cells:
    """Reconstructions by other generators, and their paired differences."""
    rows = tables.read_csv(results / "sub01/generators/scores.csv")
    paired = tables.read_csv(results / "sub01/generators_paired/differences.csv")
    metrics = tuple(METRICS)
    titles = {
        "recon": "recon (Versatile Diffusion)",
        "stable_diffusion": "`stable_diffusion` (text alone)",
        "ip_adapter": "`ip_adapter`",
    }
    cells = [
        ["DEMO", *_headings(metrics)],
        *([title, *_means(rows, images, metrics)] for images, title in titles.items()),
    ]
    for images in ("ip_adapter", "stable_diffusion"):
        cells.append([f"`{images}` minus recon, image by image", *_differences(paired, images, metrics)])
    return cells


@cache
def _scored_folder(results: Path) -> Path:
    """Tables of the command that scores other programs' images, for the demo's stage-1 reconstructions."""
    out, few = results.parent / "build/scores_of_stage1", results.parent / "build/few.yaml"
    few.parent.mkdir(exist_ok=True)
    few.write_text("significance: {pairings: 19}\n", encoding="utf-8")
    options = ["--protocol", "brain_diffuser", "--networks", "efficientnet_lite0", "--configfile", few, "--out", out]
    command = [sys.executable, "-m", "brain_diffuser.score_images", "--images", results / "sub01/stage1", *options]
    subprocess.run(command, cwd=results.parent, check=True, stdout=subprocess.DEVNULL)
    return out


def scores_of_a_folder(results: Path) -> Cells:
    """Scores and permutation tests of stage-1 reconstructions, by the command for images of other programs."""
    folder = _scored_folder(results)
    rows, tests = (tables.read_csv(folder / f"{name}.csv") for name in ("scores", "significance"))
    cells = [["DEMO metric", "images", "mean [interval]", "shuffled", "chance", "p", "p corrected"]]
    for row in rows:
        label, factor, digits = METRICS[row["metric"]]
        test = the_row(tests, metric=row["metric"])
        chance = number(row["chance"], digits, factor) if row["chance"] else ""
        line = [label, row["n"], interval(row, digits=digits, factor=factor), number(row["shuffled"], digits, factor)]
        cells.append([*line, chance, _p(test), f"{float(test['p_corrected']):.2g}"])
    return cells


def identification_of_a_folder(results: Path) -> Cells:
    """Identification of stimuli by those images, and of those images by stimuli."""
    rows = tables.read_csv(_scored_folder(results) / "identification.csv")
    cells = [["DEMO features of", "searched", "two-way %", "top 1 %", "top 10 %"]]
    for feature, searched in dict.fromkeys((row["metric"], row["searched"]) for row in rows):
        of = {
            measure: the_row(rows, metric=feature, searched=searched, measure=measure)
            for measure in ("two-way", "top 1", "top 10")
        }
        cells.append(
            [METRICS[feature][0].split(",")[0], searched, *(interval(row, "share", factor=100) for row in of.values())]
        )
    return cells


def splits(results: Path) -> Cells:
    """Identification by decoded CLIP-vision under each split."""
    rows = [
        row
        for row in tables.read_csv(results / "sub01/generalisation/scores.csv")
        if row["of"] == "all" and row["feature"] == "clip_vision" and row["candidates"] == "all stimuli"
    ]
    cells = [
        [
            *("split", "test stimuli", "decoded, two-way among all 2,500, %", "first of all, %"),
            "classifier, two-way among all, %",
        ]
    ]
    for name in dict.fromkeys(row["split"] for row in rows):
        decoded, classifier = (the_row(rows, split=name, decoder=which) for which in ("ridge", "classifier"))
        shown = [interval(decoded, factor=100), number(decoded["first"], 1, 100), interval(classifier, factor=100)]
        cells.append([name, decoded["n"], *shown])
    return cells


def same_stimuli(results: Path) -> Cells:
    """Identification of the default test stimuli of a cluster that is in the training stimuli, and held out."""
    rows = tables.read_csv(results / "sub01/generalisation/same_stimuli.csv")
    cells = [["held out", "default test stimuli in it", "two-way, cluster in training, %", "held out, %", "difference"]]
    for row in rows:
        chosen = {name: row[name] for name in ("feature", "decoder", "candidates")}
        is_cluster = row["split"].startswith("cluster")
        if is_cluster and chosen == {"feature": "clip_vision", "decoder": "ridge", "candidates": "all stimuli"}:
            both = (number(row[name], 1, 100) for name in ("mean_under_other", "mean"))
            cells.append([row["split"], row["n"], *both, interval(row, "difference", 1, 100, True)])
    return cells


def _p(row: Row) -> str:
    """The p of a test, with <= where it is the least that the test can give."""
    p = float(row["p"])
    return f"{'<= ' if row['counted'] != 'exact' and p <= float(row['least_p']) else ''}{p:.2g}"


def imagery(results: Path) -> Cells:
    """Two-way identification in the imagery session, of targets that are seen and imagined."""
    seen, imagined = (
        tables.read_csv(results / f"sub01_{name}/test_set/scores.csv") for name in ("imagery_vision", "imagery")
    )
    cells = [
        ["of", "metric", "stimuli", "pool", "by group alone", "seen: score (p)", "imagined: score (p)"],
    ]
    for row in imagined:
        if row["images"] == "stage1" or not row["pool"]:  # what is no two-way identification has no pool
            continue
        chosen = {name: row[name] for name in ("images", "metric", "stimuli")}
        both = (f"{number(each['score'], 3)} ({_p(each)})" for each in (the_row(seen, **chosen), row))
        name = METRICS[row["metric"]][0].split(",")[0] if row["metric"] in METRICS else row["metric"]
        cells.append([row["images"], name, row["stimuli"], row["pool"], row["by_group_alone"], *both])
    return cells


def synthetic(results: Path) -> Cells:
    """Two-way identification out of distribution, by decoded features."""
    rows = tables.read_csv(results / "sub01_synthetic/test_set/scores.csv")
    return [
        ["metric", "stimuli", "pool", "by group alone", "score (p)"],
        *(
            [
                *(row["metric"], row["stimuli"], row["pool"], row["by_group_alone"]),
                f"{number(row['score'], 3)} ({_p(row)})",
            ]
            for row in rows
        ),
    ]


def guidance(results: Path) -> Cells:
    """Guided variants beside what they are compared with, image by image."""
    sets = _scored(results, [*GUIDED, *GUIDED.values()])
    rows = guidance_effect.differences(sets, GUIDED, n_resamples=2000, seed=0)
    cells = [["images", "against", "PixCorr", "nearer, %", "SSIM", "two-way %", "distance"]]
    for images, against in GUIDED.items():
        line = [f"`{images}`", f"`{against}`"]
        for metric in ("pix_corr", "ssim", "efficientnet_lite0", "efficientnet_lite0_distance"):
            _, factor, digits = METRICS[metric]
            row = the_row(rows, images=images, metric=metric)
            line.append(f"{number(row['mean'], digits, factor)}: {interval(row, 'difference', digits, factor, True)}")
            line += [number(row["better"], 0, 100)] if metric == "pix_corr" else []
        cells.append(line)
    return cells


TABLES = (
    Table("models", "demo.md", ("results/sub01/recon", "results/sub01/baselines"), models),
    Table(
        "penalties",
        "evaluation.md",
        tuple(f"results/sub01/ridge/alpha_{feature}.csv" for feature in FEATURES),
        penalties,
    ),
    Table("bottleneck", "evaluation.md", ("results/sub01/bottleneck",), bottleneck),
    Table("scaling", "evaluation.md", ("results/sub01/scaling",), scaling),
    Table(
        "identification",
        "evaluation.md",
        ("results/sub01/feature_identification", "results/sub01/spurious"),
        identification,
    ),
    Table("against training", "evaluation.md", ("results/sub01/spurious",), against_training),
    Table("brain correlation", "evaluation.md", ("results/sub01/brain",), brain_correlation),
    Table("ablations", "evaluation.md", _files(ABLATED), ablations),
    Table("generators", "generators.md", ("results/sub01/generators", "results/sub01/generators_paired"), generators),
    Table("scores of a folder", "score_images.md", ("results/sub01/recon",), scores_of_a_folder),
    Table("identification of a folder", "score_images.md", ("results/sub01/recon",), identification_of_a_folder),
    Table("splits", "splits.md", ("results/sub01/generalisation",), splits),
    Table("same stimuli", "splits.md", ("results/sub01/generalisation",), same_stimuli),
    Table(
        "imagery",
        "test_sets.md",
        ("results/sub01_imagery/test_set", "results/sub01_imagery_vision/test_set"),
        imagery,
    ),
    Table("synthetic", "test_sets.md", ("results/sub01_synthetic/test_set",), synthetic),
    Table("guidance", "neuraldiffuser.md", _files([*GUIDED, *GUIDED.values()]), guidance),
)


def targets() -> list[str]:
    """What Snakemake is asked for, each once."""
    return list(dict.fromkeys(target for table in TABLES for target in table.targets))


def written(cells: Cells) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join([lines[0], "|" + " --- |" * len(cells[0]), *lines[1:]]) + "\n"


def fill_in(page: str, name: str, table: str) -> str:
    """A page with a table between the marks of that name.

    Raises ValueError: the page has no such marks, or several.
    """
    begin, end = (re.escape(f"<!-- measured {name}: {which} -->") for which in ("begin", "end"))
    marked = re.compile(f"(?<={begin}\n).*(?={end})", re.S)
    page, count = marked.subn(lambda _: f"\n{table}\n", page)
    if count != 1:
        raise ValueError(f"{count} places are marked with 'measured {name}'; expected 1")
    return page


def write(table: Table, root: Path = ROOT) -> bool:
    """Fill a table in from the results; whether that changed the page.

    Raises FileNotFoundError: a result is not there.
    """
    path = root / "docs" / table.page
    before = path.read_text(encoding="utf-8")
    after = fill_in(before, table.name, written(table.cells(root / "results")))
    if after != before:
        path.write_text(after, encoding="utf-8")
    return after != before


def write_all(root: Path = ROOT) -> None:
    """Fill in every table whose results are there, and the one of expected ranges, and say which."""
    for table in TABLES:
        missing = [target for target in table.targets if not (root / target).exists()]
        state = f"not made, for {missing[0]} is missing" if missing else ""
        state = state or ("written" if write(table, root) else "unchanged")
        sys.stdout.write(f"docs/{table.page}, {table.name}: {state}\n")
    expected_ranges.write(expected_ranges.measured(root / "results/sub01"))


if __name__ == "__main__":
    write_all()
