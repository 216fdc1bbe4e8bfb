"""Stage 2: the shards of a feature -> one array."""

from brain_diffuser import shards
from brain_diffuser.job import job

with job(snakemake):
    shards.gather(snakemake.input.shards, snakemake.input.like, snakemake.output[0])
