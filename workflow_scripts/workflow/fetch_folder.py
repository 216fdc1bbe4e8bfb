"""Fetch: one folder of a model that is missing."""

from brain_diffuser.workflow.fetch import fetch_folder
from brain_diffuser.workflow.job import job, progress

with job(snakemake, receipt=False):
    fetch_folder(f"{snakemake.params.url}/{snakemake.wildcards.component}", snakemake.output[0], progress)
