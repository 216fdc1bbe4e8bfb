"""Which voxels belong to which region."""

from brain_diffuser.data import rois
from brain_diffuser.workflow.job import job

with job(snakemake):
    subject = snakemake.wildcards.subject
    rois.save(snakemake.output[0], rois.masks(snakemake.params.regions, snakemake.input.rois, subject))
