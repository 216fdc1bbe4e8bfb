"""Reconstructions of a shard of the test stimuli, or of chosen ones, with or without NeuralDiffuser's guidance."""

from pathlib import Path

from brain_diffuser.artifacts import shards, single_images
from brain_diffuser.data import stimulus_table
from brain_diffuser.generation import reconstructions
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job, progress

with job(snakemake) as begun, devices.enough_memory("recon"):
    inputs, params, resources = snakemake.input, snakemake.params, snakemake.resources
    device, dtype = devices.choose(resources.device, params.cfg["compute.dtype"])
    table = inputs.get("chosen")
    chosen = stimulus_table.read(table)["test"].nsd_id if table else None
    # What differs between a shard and chosen stimuli, or between stimuli: images of stage 1 count one by one.
    own = [path for name in ("chosen", "stage1", "manifest") if (path := inputs.get(name))]
    folder, out = Path(snakemake.output[0]).parent, snakemake.output[0]
    reconstructions.make(
        shards.part(snakemake.wildcards.get("span", ""), inputs.text, chosen, resources.get("shard_size", 0)),
        dict(inputs.items()),
        out,
        single_images.Singles(folder, begun.key(own), chosen is not None),
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
