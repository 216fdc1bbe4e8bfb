"""The table of stimuli with fewer trials of the training stimuli."""

from brain_diffuser.data import stimulus_table
from brain_diffuser.evaluation import scaling
from brain_diffuser.workflow.job import job

with job(snakemake):
    axis, amount = snakemake.wildcards.axis, float(snakemake.wildcards.amount)
    stimulus_table.write(snakemake.output[0], scaling.restricted(stimulus_table.read(snakemake.input[0]), axis, amount))
