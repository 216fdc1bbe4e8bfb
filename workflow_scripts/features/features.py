"""One feature of a shard of one split's stimuli."""

from brain_diffuser.features import extract
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job, progress

with job(snakemake, embed=True), devices.enough_memory("features"):
    params, resources = snakemake.params, snakemake.resources
    device, dtype = devices.choose(resources.device, params.cfg["compute.dtype"])
    extract.shard(
        snakemake.wildcards.feature,
        snakemake.wildcards.span,
        snakemake.input.stimuli,
        snakemake.input.captions,
        snakemake.output[0],
        model=params.model,
        diffusion=params.diffusion,
        device=device,
        dtype=dtype,
        batch_size=resources.batch_size,
        storage=params.cfg["features.storage"],
        settings=params.cfg.get(f"features.{snakemake.wildcards.feature}", {}),
        progress=progress,
    )
