"""Stage 1: which trial of a custom dataset showed which stimulus, and which stimuli train and test."""

from brain_diffuser import custom, nsd
from brain_diffuser.job import job

with job(snakemake):
    trials, ids = custom.read_trials(snakemake.input.trials[0]), custom.read_ids(snakemake.input.ids)
    nsd.write_stimuli(snakemake.output[0], custom.split_stimuli(trials, ids))
