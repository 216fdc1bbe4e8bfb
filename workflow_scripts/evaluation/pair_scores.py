"""An evaluation network's scores of all pairs of a stimulus and an image."""

from brain_diffuser.artifacts import hdf5, shards
from brain_diffuser.evaluation import pair_scores
from brain_diffuser.workflow.job import job

with job(snakemake):
    nsd_id, (true, predicted) = shards.load_parts(snakemake.input.shards, snakemake.input.like)
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        pair_scores.of_features(folder, snakemake.wildcards.network, nsd_id, true, predicted)
