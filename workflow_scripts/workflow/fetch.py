"""Fetch: one file that is missing."""

from brain_diffuser.workflow.fetch import Published, fetch
from brain_diffuser.workflow.job import job, progress

with job(snakemake, receipt=False):
    source = Published(*snakemake.params.source).located(snakemake.config["fetch"]["servers"])
    fetch(path=snakemake.output[0], progress=progress, **source)
