"""Stage 1: which trial showed which stimulus, and which stimuli train and test."""

from brain_diffuser import nsd
from brain_diffuser.job import job

with job(snakemake):
    trials = nsd.read_design(
        snakemake.input.design, snakemake.params.subject, int(snakemake.params.n_sessions.split()[0])
    )
    nsd.write_stimuli(snakemake.output[0], nsd.split_stimuli(*trials))
