"""Stage 1: which trial showed which stimulus, and which stimuli train and test."""

from brain_diffuser.data import nsd_design
from brain_diffuser.workflow.job import job

with job(snakemake):
    numbers = [int(number) for number in snakemake.params.sessions.split()[1:]]
    trials = nsd_design.read_design(snakemake.input.design, snakemake.params.subject, numbers)
    splits = nsd_design.split_stimuli(*trials)
    nsd_design.write_stimuli(snakemake.output[0], {split: splits[split] for split in snakemake.params.splits})
