"""The rows of a subject's arrays that a further split trains or tests with, in the order of its table."""

from brain_diffuser.artifacts import rows
from brain_diffuser.data import stimulus_table
from brain_diffuser.workflow.job import job

with job(snakemake):
    wanted = stimulus_table.read(snakemake.input.stimuli)[snakemake.wildcards.split].nsd_id
    rows.select(snakemake.input.arrays, wanted, snakemake.output[0])
