"""Stage 1: which trial showed which stimulus, and which stimuli train and test."""

from brain_diffuser import nsd
from brain_diffuser.job import job

with job(snakemake):
    numbers = [int(number) for number in snakemake.params.sessions.split()[1:]]
    trials = nsd.read_design(snakemake.input.design, snakemake.params.subject, numbers)
    nsd.write_stimuli(snakemake.output[0], nsd.split_stimuli(*trials))
