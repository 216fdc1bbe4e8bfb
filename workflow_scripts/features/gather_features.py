"""The shards of a feature -> one array."""

from brain_diffuser.artifacts import shards
from brain_diffuser.workflow.job import job

with job(snakemake):
    shards.gather(snakemake.input.shards, snakemake.input.like, snakemake.output[0])
