"""A shard of images made without a diffusion model: stage-1 reconstructions, or autoencoded stimuli."""

from brain_diffuser.generation import direct_images
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job, progress

with job(snakemake), devices.enough_memory(snakemake.params.batch_key):
    params, resources = snakemake.params, snakemake.resources
    device, dtype = devices.choose(resources.device, params.cfg["compute.dtype"])
    direct_images.shard(
        snakemake.wildcards.span,
        snakemake.input.source,
        snakemake.output[0],
        params.source,
        params.model,
        settings=params.cfg,
        batch_size=resources.batch_size,
        device=device,
        dtype=dtype,
        progress=progress,
    )
