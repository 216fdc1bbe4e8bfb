"""Stage 7: the report of all subjects."""

import platform
from importlib import metadata
from pathlib import Path

from brain_diffuser import __version__
from brain_diffuser.artifacts import hdf5
from brain_diffuser.reporting import page, score_tables
from brain_diffuser.workflow import resource_usage
from brain_diffuser.workflow.job import job

PACKAGES = ("torch", "diffusers", "transformers", "numpy", "scipy", "scikit-image", "h5py", "pillow", "snakemake")


FIGURES = {
    "decoding": "Decoding: features of the test stimuli, predicted from betas.",
    "encoding": "Encoding: betas of the test stimuli, predicted from their CLIP-vision embeddings, region by region.",
    "noise_ceiling": "What noise leaves of the betas.",
}
# What results/{subject}/roi holds, in the order of the page; the folder of the average has some of it.
EXHIBITS = {
    "optimal.png": "optimal images of each region (rest: no response), and of as many voxels drawn at random",
    "category_probe.csv": "how probable it is to the evaluation network that the optimal images show each category",
    "category_probe_accuracy.csv": "share of test stimuli, and of their reconstructions, that the evaluation network puts where they belong",
    "perturbed.png": "a stimulus' response with a region's raised or lowered, in standard deviations; same noise",
    "decoding.svg": "accuracy from one region alone, and with it set to its mean; grey: range of as many random voxels",
    "decoding.csv": "accuracy alone and without",
    "lesions.svg": "how much nearer decoded stimuli with and without a category lie with a region at its mean (d')",
    "lesions.csv": "lesions",
    "weights.svg": "how much higher a region's weights rank for CLIP than for VDVAE, percentiles among all voxels",
    "weights.csv": "weights",
    "brain_correlation.svg": "brain correlation: betas predicted from images against measured betas",
    "brain_correlation.csv": "brain correlation",
    "mosaic_encoding_accuracy.png": "encoding accuracy",
    "glass_encoding_accuracy.png": "encoding accuracy, through the brain",
    "mosaic_noise_ceiling.png": "noise ceiling",
    "rois.png": "regions",
}
# The same of results/{subject}/guidance.
GUIDANCE = {
    "images.png": "the first test stimuli, guided and unguided",
    "comparison.csv": "guided sets: mean score, in brackets the 95 % interval of its difference from the unguided set",
    "grid.csv": "difference from the reconstruction by guidance's strength, kappa, and share of guided steps, eta",
    "consistency.csv": "repeats with other seeds: how much they resemble each other and their stimulus",
}


def exhibits(folder: str, known: dict[str, str]) -> list[tuple[str, Path]]:
    """What there is of a folder."""
    return [(caption, Path(folder) / name) for name, caption in known.items() if (Path(folder) / name).exists()]


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
        page.Subject(
            name=name,
            stimuli=Path(inputs.stimuli[place]),
            captions=Path(inputs.captions[place]),
            images={
                column: (Path(inputs.images[n_columns * place + at]), Path(inputs.manifests[n_columns * place + at]))
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
    measured = resource_usage.costs(Path(snakemake.output.page).parent, params.subjects)
    spent = [each for each in measured if each.stage != "report"]  # that of an earlier page
    with hdf5.atomic(snakemake.output.costs) as partial, open(partial, "w", encoding="utf-8") as file:
        resource_usage.write_csv(file, spent)
    page.write(
        snakemake.output.page,
        dataset_label=score_tables.DatasetLabel(*params.dataset_label),
        subjects=subjects,
        settings=params.settings,
        versions=installed(),
        regions=[(Path(folder).parent.name, exhibits(folder, EXHIBITS)) for folder in inputs.regions],
        guidance=[(Path(folder).parent.name, exhibits(folder, GUIDANCE)) for folder in inputs.guidance],
        edges=[tuple(edge) for edge in params.edges],
        spent=spent,
    )
