"""Fetch: one folder of a model that is missing."""

from brain_diffuser.workflow.fetch import Published, fetch_folder, published_sums
from brain_diffuser.workflow.job import job, progress

with job(snakemake, receipt=False):
    component = snakemake.wildcards.component
    server, path = snakemake.params.source
    fetch_folder(
        Published(server, f"{path}/{component}").located(snakemake.config["fetch"]["servers"])["url"],
        snakemake.output[0],
        progress,
        sums=published_sums(snakemake.params.model, component),
    )
