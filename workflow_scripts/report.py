"""Stage 7: the report of all subjects."""

import csv
import platform
from importlib import metadata
from pathlib import Path

from brain_diffuser import __version__, report
from brain_diffuser.job import job

PACKAGES = ("torch", "diffusers", "transformers", "numpy", "scipy", "scikit-image", "h5py", "pillow", "snakemake")


FIGURES = {
    "decoding": "Decoding: features of the test stimuli, predicted from betas.",
    "encoding": "Encoding: betas of the test stimuli, predicted from their CLIP-vision embeddings, region by region.",
    "noise_ceiling": "What noise leaves of the betas.",
}


def runtimes(subject: str) -> list[tuple[str, str, float, float]]:
    """(subject, job, seconds, peak MiB) of the jobs that Snakemake measured."""
    found = []
    for path in sorted(Path("results", subject, "benchmarks").glob("*.tsv")):
        with open(path, newline="") as stream:
            row = next(csv.DictReader(stream, delimiter="\t"))
        peak = row["max_rss"]
        found.append((subject, path.stem, float(row["s"]), float(peak) if peak not in ("-", "NA") else float("nan")))
    return found


def installed() -> dict[str, str]:
    """Versions of what computed the results."""
    versions = {"brain-diffuser-dag": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an environment of its own need not hold every package
    return versions


with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    n_columns = len(params.columns)
    subjects = [
        report.Subject(
            name=name,
            stimuli=Path(inputs.stimuli[place]),
            captions=Path(inputs.captions[place]),
            pictures={
                column: (Path(inputs.pictures[n_columns * place + at]), Path(inputs.manifests[n_columns * place + at]))
                for at, column in enumerate(params.columns)
            },
            per_image={column: Path(inputs.tables[place]) / f"per_image_{column}.csv" for column in params.columns},
            scores=Path(inputs.tables[place]) / "scores.csv",
            retrieved=Path(inputs.retrieved[place]),
            figures=[
                (caption, (Path(inputs.accuracy[place]) / f"{plot}.svg").read_text(encoding="utf-8"))
                for plot, caption in FIGURES.items()
            ],
            tables=[
                ("retrieval", Path(inputs.retrieval[place])),
                ("decoding accuracy, correlation over test stimuli", Path(inputs.accuracy[place]) / "decoding.csv"),
                ("encoding accuracy, correlation over test stimuli", Path(inputs.accuracy[place]) / "encoding.csv"),
            ],
        )
        for place, name in enumerate(params.subjects)
    ]
    report.write(
        snakemake.output[0],
        world=params.world,
        subjects=subjects,
        settings=params.settings,
        versions=installed(),
        edges=[tuple(edge) for edge in params.edges],
        runtimes=[line for name in params.subjects for line in runtimes(name)],
    )
