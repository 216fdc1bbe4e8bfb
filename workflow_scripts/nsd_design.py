"""Stage 1: which trial showed which stimulus, and which stimuli train and test."""

from brain_diffuser import nsd
from brain_diffuser.job import job

with job(snakemake):
    trials = nsd.read_design(snakemake.input.design, snakemake.params.subject, snakemake.params.sessions)
    nsd.write_stimuli(snakemake.output.stimuli, nsd.split_stimuli(*trials))
