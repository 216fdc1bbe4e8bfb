"""Permutation tests of the scores of some sets of images."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import pair_scores, scores
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, cfg = snakemake.input, snakemake.params, snakemake.params.cfg
    drawn = cfg["permutations"], cfg["seed"], cfg["correction"]
    rows = pair_scores.tests({name: inputs[f"pairs_{name}"] for name in cfg["images"]}, *drawn)
    scores_of_sets = {name: scores.read_per_image(inputs[f"scores_{name}"]) for name in cfg["images"]}
    compared = pair_scores.differences(scores_of_sets, params.against, *drawn)
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        title = f"{params.dataset_label}, {snakemake.wildcards.subject}"
        pair_scores.write(folder, rows, compared, params.metrics, title, cfg["correction"])
