"""Fetch: one file that is missing."""

from brain_diffuser.workflow.fetch import fetch
from brain_diffuser.workflow.job import job, progress

with job(snakemake, receipt=False):
    fetch(path=snakemake.output[0], progress=progress, **snakemake.params.source)
