"""Correlations of a decoded and a true feature of the test stimuli with that of all stimuli."""

from brain_diffuser.evaluation import similarity
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs = snakemake.input
    similarity.save(snakemake.output[0], similarity.correlate(inputs.decoded, inputs.test, inputs.train))
