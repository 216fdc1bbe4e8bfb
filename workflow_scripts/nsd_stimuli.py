"""Stage 1: the pictures of one split, in the order of its betas."""

from brain_diffuser import nsd
from brain_diffuser.job import job

with job(snakemake):
    stimuli = nsd.read_stimuli(snakemake.input.stimuli)[snakemake.wildcards.split]
    nsd.copy_stimuli(snakemake.input.brick, snakemake.output[0], stimuli.nsd_id)
