"""The metrics of one evaluation network for a folder of images, with their chance control."""

from brain_diffuser.artifacts import shards
from brain_diffuser.evaluation import scores
from brain_diffuser.workflow.job import job

with job(snakemake):
    seed, inputs = snakemake.params.cfg["metrics.control_seed"], snakemake.input
    nsd_id, (true, predicted) = shards.load_parts(inputs.shards, inputs.like)
    per_image = scores.of_features(snakemake.wildcards.network, true, predicted, seed)
    scores.write_per_image(snakemake.output[0], nsd_id, per_image)
