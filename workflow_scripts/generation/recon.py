"""Reconstructions of a shard of the test stimuli, with or without NeuralDiffuser's guidance."""

from brain_diffuser.generation import reconstructions
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job, progress

with job(snakemake), devices.enough_memory("recon"):
    params, resources = snakemake.params, snakemake.resources
    device, dtype = devices.choose(resources.device, params.cfg["compute.dtype"])
    reconstructions.shard(
        snakemake.wildcards.span,
        dict(snakemake.input.items()),
        snakemake.output[0],
        backbone=params.backbone,
        folder=params.diffusion,
        clip_folder=params.clip,
        guide=params.guide,
        tower=params.tower,
        settings=params.cfg,
        batch_size=resources.batch_size,
        device=device,
        dtype=dtype,
        progress=progress,
    )
