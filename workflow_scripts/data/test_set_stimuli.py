"""The stimulus images of another experiment, square and of NSD's size."""

from brain_diffuser.data import test_sets
from brain_diffuser.workflow.job import job

with job(snakemake):
    test_sets.KINDS[snakemake.params.kind].write_stimuli(snakemake.input, snakemake.output, snakemake.params.cfg)
