"""A shard of images made without a diffusion model, or chosen ones: stage-1 reconstructions, or autoencoded stimuli."""

from pathlib import Path

from brain_diffuser.artifacts import shards, single_images
from brain_diffuser.data import stimulus_table
from brain_diffuser.generation import direct_images
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job, progress

with job(snakemake) as begun, devices.enough_memory(snakemake.params.batch_key):
    inputs, params, resources = snakemake.input, snakemake.params, snakemake.resources
    device, dtype = devices.choose(resources.device, params.cfg["compute.dtype"])
    table = inputs.get("chosen")
    chosen = stimulus_table.read(table)["test"].nsd_id if table else None
    own = [table] if table else []
    folder, out = Path(snakemake.output[0]).parent, snakemake.output[0]
    direct_images.make(
        shards.part(snakemake.wildcards.get("span", ""), inputs.source, chosen, resources.get("shard_size", 0)),
        inputs.source,
        out,
        params.source,
        single_images.Singles(folder, begun.key(own), chosen is not None),
        model=params.model,
        settings=params.cfg,
        batch_size=resources.batch_size,
        device=device,
        dtype=dtype,
        progress=progress,
    )
