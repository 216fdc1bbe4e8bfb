"""The features of optimal images, averaged over subjects."""

from brain_diffuser.regions import optimal_patterns
from brain_diffuser.workflow.job import job

with job(snakemake):
    optimal_patterns.average_files(snakemake.input.subjects, snakemake.output[0])
