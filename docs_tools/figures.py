"""Every image of the documentation, made again from the demo run.

    python -m docs_tools.figures            # make docs-figures: runs Snakemake for what is missing, and writes docs/
    python -m docs_tools.figures --check    # whether the images of the finished run still look like those in docs/

Snakemake runs with docs_tools/figures.yaml beside config.yaml. docs/gallery.md shows all figures.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = "docs_tools/figures.yaml"
JPEG_QUALITY = 88
LEVELS = 4.0
"""Mean difference of two images, of 255 levels, above which one is stale; JPEG alone makes about 1."""


class Figure(NamedTuple):
    """An image of docs/ and the result that it is made from.

    Parameters
    ----------
    image : str
        File in docs/; a .jpg is converted, an .svg is copied.
    target : str
        What Snakemake is asked for.
    result : str
        The file in the target, or the target itself.
    """

    image: str
    target: str
    result: str


def _inside(image: str, folder: str, name: str) -> Figure:
    """A figure that lies in a folder of results."""
    return Figure(image, folder, f"{folder}/{name}")


FIGURES = (
    Figure("contact_sheet.jpg", "results/sub01/contact_sheet.png", "results/sub01/contact_sheet.png"),
    _inside("accuracy_decoding.svg", "results/sub01/accuracy", "decoding.svg"),
    _inside("accuracy_encoding.svg", "results/sub01/accuracy", "encoding.svg"),
    _inside("noise_ceiling.svg", "results/sub01/accuracy", "noise_ceiling.svg"),
    _inside("against_training.svg", "results/sub01/spurious", "against_training.svg"),
    _inside("output_dimensions.svg", "results/sub01/spurious", "output_dimensions.svg"),
    _inside("bottleneck_curve.svg", "results/sub01/bottleneck", "curve.svg"),
    _inside("scaling_curves.svg", "results/sub01/scaling", "curves.svg"),
    _inside("generalisation_by_split.svg", "results/sub01/generalisation", "by_split.svg"),
    _inside("generalisation_by_distance.svg", "results/sub01/generalisation", "by_distance.svg"),
    Figure(
        "test_sets_imagery.jpg", "results/sub01_imagery/contact_sheet.png", "results/sub01_imagery/contact_sheet.png"
    ),
)


def targets(figures: tuple[Figure, ...] = FIGURES) -> list[str]:
    """What Snakemake is asked for, each once."""
    return list(dict.fromkeys(figure.target for figure in figures))


def write(figure: Figure, root: Path = ROOT) -> bool:
    """Write an image of docs/ from its result; whether that changed the file.

    Raises FileNotFoundError: the result is not there.
    """
    result, image = root / figure.result, root / "docs" / figure.image
    if not result.is_file():
        raise FileNotFoundError(
            f"{figure.result} is missing, from which docs/{figure.image} is made; run make docs-figures"
        )
    before = image.read_bytes() if image.is_file() else None
    if image.suffix == ".jpg":
        with Image.open(result) as opened:
            opened.convert("RGB").save(image, quality=JPEG_QUALITY, optimize=True)
    else:
        shutil.copyfile(result, image)
    return image.read_bytes() != before


def stale(figures: tuple[Figure, ...] = FIGURES, root: Path = ROOT) -> list[str]:
    """A sentence for each photograph-like image of docs/ that shows something else than the finished run.

    Images whose results were not made are not compared, and neither are plots: their text may differ between machines.
    """
    problems = []
    for figure in figures:
        result, image = root / figure.result, root / "docs" / figure.image
        if image.suffix != ".jpg" or not result.is_file():
            continue
        now, shown = (np.asarray(Image.open(path).convert("RGB"), np.float32) for path in (result, image))
        if now.shape != shown.shape:
            problems.append(
                f"docs/{figure.image} is {shown.shape[1]} x {shown.shape[0]}, {figure.result} {now.shape[1]} x "
                f"{now.shape[0]} pixels; run make docs-figures"
            )
        elif (difference := float(np.abs(now - shown).mean())) > LEVELS:
            problems.append(
                f"docs/{figure.image} differs from {figure.result} by {difference:.1f} grey levels on average, expected"
                f" at most {LEVELS}; run make docs-figures"
            )
    return problems


def main() -> int:
    """Make all figures, or compare those that a finished run has."""
    parser = argparse.ArgumentParser(
        prog="python -m docs_tools.figures", description="The images of the documentation."
    )
    parser.add_argument("--check", action="store_true", help="compare docs/ with the finished run, and make nothing")
    parser.add_argument("--dry-run", action="store_true", help="what Snakemake would run")
    arguments = parser.parse_args()
    if arguments.check:
        problems = stale()
        for problem in problems:
            sys.stderr.write(f"{problem}\n")
        return bool(problems)
    how = ["-n"] if arguments.dry_run else ["--cores", "all"]
    snakemake = [sys.executable, "-m", "snakemake", *how, "--configfile", SETTINGS, "--", *targets()]
    run = subprocess.run(snakemake, cwd=ROOT, check=False)
    if run.returncode or arguments.dry_run:
        return run.returncode
    for figure in FIGURES:
        sys.stdout.write(f"docs/{figure.image}: {'written' if write(figure) else 'unchanged'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
