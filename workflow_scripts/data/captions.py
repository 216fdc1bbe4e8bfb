"""The captions of a subject's stimuli."""

from brain_diffuser.data import registry
from brain_diffuser.workflow.job import job

with job(snakemake):
    registry.ADAPTERS[snakemake.params.adapter].write_captions(snakemake.input, snakemake.output, snakemake.params.cfg)
