"""Stage 1: the images of one split, in the order of its betas."""

from brain_diffuser.data import nsd_design
from brain_diffuser.workflow.job import job

with job(snakemake):
    stimuli = nsd_design.read_stimuli(snakemake.input.stimuli)[snakemake.wildcards.split]
    nsd_design.copy_stimuli(snakemake.input.stimulus_file, snakemake.output[0], stimuli.nsd_id)
