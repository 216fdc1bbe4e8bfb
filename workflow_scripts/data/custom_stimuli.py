"""Stage 1: the images of one split of a custom dataset, in the order of its betas."""

from brain_diffuser.data import custom, nsd_design
from brain_diffuser.workflow.job import job

with job(snakemake) as begun:
    stimuli = nsd_design.read_stimuli(snakemake.input.stimuli)[snakemake.wildcards.split]
    names = {number: name for name, number in custom.read_ids(snakemake.input.stim_files).items()}
    begun.note_files(snakemake.params.folder, (names[number] for number in stimuli.nsd_id.tolist()))
    custom.copy_images(snakemake.params.folder, snakemake.output[0], stimuli.nsd_id, names)
