"""Which trial showed which stimulus, and which stimuli train and test."""

from brain_diffuser.data import registry
from brain_diffuser.workflow.job import job

with job(snakemake):
    registry.ADAPTERS[snakemake.params.adapter].write_design(snakemake.input, snakemake.output, snakemake.params.cfg)
