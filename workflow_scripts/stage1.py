"""Stage 4: first guesses of a shard of the test stimuli."""

from brain_diffuser import arrays, devices, shards, stage1
from brain_diffuser.job import job, progress
from brain_diffuser.vdvae import weights


def guess(rows: slice) -> None:
    cfg = snakemake.params.cfg
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    latents = arrays.load(snakemake.input.latents, rows)
    guesses = stage1.decode(
        latents,
        weights.load(snakemake.input.model, device=device, dtype=dtype),
        batch_size=snakemake.resources.batch_size,
        **cfg["stage1"],
    )
    made = progress(guesses, len(latents.nsd_id), "first guesses")
    shards.save_pictures(snakemake.output[0], made, latents.nsd_id)


with job(snakemake), devices.enough_memory("stage1"):
    shards.make(snakemake.wildcards.span, snakemake.input.latents, snakemake.output[0], guess)
