"""Stage 1: which voxels belong to which region."""

from brain_diffuser import regions
from brain_diffuser.job import job

with job(snakemake):
    subject = snakemake.wildcards.subject
    regions.save(snakemake.output[0], regions.masks(snakemake.params.regions, snakemake.input.rois, subject))
