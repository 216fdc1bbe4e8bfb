"""Whether a finished demo run looks right: what each stage gives, beside the range that is expected.

python -m docs_tools.expected_ranges results/sub01            # prints the table, and ends with 1 if a number is outside
python -m docs_tools.expected_ranges results/sub01 --write    # puts it into docs/expected_ranges.md
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from brain_diffuser.artifacts import tables

PAGE = Path(__file__).resolve().parents[1] / "docs/expected_ranges.md"
MARKED = re.compile(r"(?<=<!-- measured: begin -->\n).*(?=<!-- measured: end -->)", re.S)
REPEATS = 3


class Expected(NamedTuple):
    """A number of a finished demo run.

    Parameters
    ----------
    stage, what : str
        The stage that gives it, and what it is, with its unit.
    measure : function
        The number, from a subject's folder of results.
    low, high : float
        The range in which it looks right.
    digits : int
        Behind the point, in tables.
    """

    stage: str
    what: str
    measure: Callable[[Path], float]
    low: float
    high: float
    digits: int = 2

    def written(self, value: float) -> str:
        """A number as tables have it."""
        return f"{value:,.{self.digits}f}"


def _array(file: str, name: str, reduce: Callable[[np.ndarray], float]) -> Callable[[Path], float]:
    """A number of an array in an HDF5 file."""

    def measure(folder: Path) -> float:
        with h5py.File(folder / file) as opened:
            return float(reduce(np.asarray(opened[name])))

    return measure


def _cell(file: str, column: str, **chosen: str) -> Callable[[Path], float]:
    """A number of a table, from the row whose cells are the chosen ones."""

    def measure(folder: Path) -> float:
        rows = tables.read_csv(folder / file)
        (row,) = [row for row in rows if all(row[name] == value for name, value in chosen.items())]
        return float(row[column])

    return measure


def _score(images: str, metric: str, column: str = "mean") -> Callable[[Path], float]:
    """A mean score of a set of images."""
    return _cell("metrics/scores.csv", column, images=images, metric=metric)


def _noise_ceiling(ncsnr: np.ndarray) -> float:
    """The median share of the variance of betas averaged over repeats that is not noise."""
    return float(np.median(ncsnr**2 / (ncsnr**2 + 1 / REPEATS)))


def _of_rows(values: np.ndarray) -> float:
    """The number of rows."""
    return float(len(values))


def _median_spread(values: np.ndarray) -> float:
    """The median over columns of the standard deviation over stimuli."""
    return float(np.median(values.std(0)))


def _spread_of_features(feature: str) -> Callable[[Path], float]:
    """The median spread of a feature over the first 500 training stimuli."""

    def measure(folder: Path) -> float:
        with h5py.File(folder / f"features/{feature}_train.h5") as opened:
            values = np.asarray(opened["values"][:500], np.float32)  # type: ignore[index]
        return _median_spread(values.reshape(len(values), -1))

    return measure


EXPECTED = (
    Expected("data", "training stimuli", _array("data/betas_train.h5", "nsd_id", _of_rows), 2380, 2380, 0),
    Expected("data", "test stimuli", _array("data/betas_test.h5", "nsd_id", _of_rows), 120, 120, 0),
    Expected("data", "voxels", _array("data/rois.h5", "voxel", _of_rows), 7500, 7500, 0),
    Expected(
        "data",
        "betas: standard deviation over training stimuli, median voxel, percent signal change",
        _array("data/betas_train.h5", "values", _median_spread),
        *(1.30, 1.60),
    ),
    Expected(
        "data",
        "noise ceiling of betas averaged over three repeats: share of variance, median voxel",
        _array("data/rois.h5", "ncsnr", _noise_ceiling),
        *(0.40, 0.55),
    ),
    Expected("features", "VDVAE latents: standard deviation, median", _spread_of_features("vdvae"), 0.09, 0.13),
    Expected("features", "CLIP-vision: standard deviation, median", _spread_of_features("clip_vision"), 2.9, 3.9),
    Expected(
        "ridge",
        "correlation of decoded and true VDVAE latents over test stimuli, median latent",
        _cell("accuracy/decoding.csv", "median", feature="vdvae"),
        *(0.52, 0.63),
    ),
    Expected(
        "ridge",
        "the same of CLIP-text",
        _cell("accuracy/decoding.csv", "median", feature="clip_text"),
        *(0.81, 0.90),
    ),
    Expected(
        "ridge",
        "the same of CLIP-vision",
        _cell("accuracy/decoding.csv", "median", feature="clip_vision"),
        *(0.76, 0.87),
    ),
    Expected(
        "ridge",
        "retrieval by CLIP-vision, top 1 of 120",
        _cell("retrieval/retrieval.csv", "top_1", retrieved="image"),
        *(0.90, 1.0),
    ),
    Expected(
        "encoding",
        "correlation of predicted and measured betas over test stimuli, median voxel",
        _cell("accuracy/encoding.csv", "median", region="all"),
        *(0.39, 0.50),
    ),
    Expected("stage1", "PixCorr", _score("stage1", "pix_corr"), 0.70, 0.82),
    Expected("stage1", "SSIM", _score("stage1", "ssim"), 0.82, 0.88),
    Expected(
        "stage1", "two-way identification, EfficientNet-Lite0", _score("stage1", "efficientnet_lite0"), 0.55, 0.69
    ),
    Expected("recon", "PixCorr", _score("recon", "pix_corr"), 0.70, 0.80),
    Expected("recon", "SSIM", _score("recon", "ssim"), 0.84, 0.89),
    Expected("recon", "two-way identification, EfficientNet-Lite0", _score("recon", "efficientnet_lite0"), 0.90, 0.97),
    Expected(
        "recon",
        "the same with a shuffled pairing",
        _score("recon", "efficientnet_lite0", "shuffled"),
        *(0.40, 0.60),
    ),
    Expected(
        "ceilings",
        "two-way identification of stimuli through the autoencoder",
        _score("autoencoder", "efficientnet_lite0"),
        *(0.95, 1.0),
    ),
)


def measured(folder: Path) -> list[float]:
    """The number of every row of EXPECTED.

    Raises FileNotFoundError: the run is not finished.
    """
    return [expected.measure(folder) for expected in EXPECTED]


def outside(values: list[float]) -> list[str]:
    """A sentence for each number that does not look right; numbers are in the order of EXPECTED."""
    return [
        f"{row.stage}: {row.what} is {row.written(value)}, expected {row.written(row.low)} to {row.written(row.high)}"
        for row, value in zip(EXPECTED, values, strict=True)
        if not row.low <= value <= row.high
    ]


def table(values: list[float]) -> str:
    """The table in Markdown."""
    lines = ["| stage | quantity | demo run | looks right |", "| --- | --- | --- | --- |"]
    for row, value in zip(EXPECTED, values, strict=True):
        low, high = row.written(row.low), row.written(row.high)
        right = low if low == high else f"{low} to {high}"
        lines.append(f"| {row.stage} | {row.what} | {row.written(value)} | {right} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print or write the table of a finished demo run."""
    parser = argparse.ArgumentParser(
        prog="python -m docs_tools.expected_ranges", description="Does the demo run look right?"
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("results/sub01"), help="a subject's folder of results"
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/expected_ranges.md")
    arguments = parser.parse_args()
    values = measured(arguments.folder)
    if arguments.write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(MARKED.sub(lambda _: f"\n{table(values)}\n", page), encoding="utf-8")
    else:
        sys.stdout.write(table(values))
    problems = outside(values)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
