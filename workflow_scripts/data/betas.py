"""Betas averaged over the repeats of each stimulus, and where their voxels lie."""

from brain_diffuser.data import registry
from brain_diffuser.workflow.job import job

with job(snakemake):
    registry.ADAPTERS[snakemake.params.adapter].write_betas(snakemake.input, snakemake.output, snakemake.params.cfg)
