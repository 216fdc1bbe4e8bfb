"""The images of one split, in the order of its betas."""

from brain_diffuser.data import registry
from brain_diffuser.workflow.job import job

with job(snakemake) as begun:
    registry.ADAPTERS[snakemake.params.adapter].write_stimuli(
        snakemake.input,
        snakemake.output,
        snakemake.params.cfg,
        split=snakemake.wildcards.split,
        note_files=begun.note_files,
    )
