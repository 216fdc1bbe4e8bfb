"""Which test stimuli are chosen (recon.only)."""

from brain_diffuser.data import chosen, stimulus_table
from brain_diffuser.workflow.job import job

with job(snakemake):
    splits = stimulus_table.read(snakemake.input.stimuli)
    of_subject = chosen.choose(snakemake.params.only, splits, snakemake.wildcards.subject)
    stimulus_table.write_chosen(snakemake.output[0], of_subject)
