"""Stage 1: which trial showed which stimulus, and which stimuli train and test."""

from brain_diffuser import nsd
from brain_diffuser.job import job

with job(snakemake):
    numbers = [int(number) for number in snakemake.params.sessions.split()[1:]]
    trials = nsd.read_design(snakemake.input.design, snakemake.params.subject, numbers)
    splits = nsd.split_stimuli(*trials)
    nsd.write_stimuli(snakemake.output[0], {split: splits[split] for split in snakemake.params.splits})
