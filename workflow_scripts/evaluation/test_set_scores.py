"""Scores of a test set: of decoded features and of images, in all targets and within their sets."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import test_set
from brain_diffuser.evaluation import test_set_scores
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    drawn = params.cfg["permutations"], params.cfg["seed"]
    groups = [group for _, group, _ in test_set.read_targets(inputs.targets)]
    true, predicted = (dict(zip(params.features, paths, strict=True)) for paths in (inputs.true, inputs.predicted))
    rows = [
        *test_set_scores.of_features(true, predicted, groups, *drawn),
        *test_set_scores.of_images({name: inputs[f"pairs_{name}"] for name in params.images}, groups, *drawn),
    ]
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        title = f"{params.dataset_label}, {snakemake.wildcards.subject} ({params.about})"
        test_set_scores.write(folder, rows, params.metrics, title, params.notes)
