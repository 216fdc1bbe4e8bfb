"""Stage 4: first guesses of a shard of the test stimuli."""

from brain_diffuser.artifacts import hdf5, shards
from brain_diffuser.generation import vdvae_stage
from brain_diffuser.models import devices
from brain_diffuser.models.vdvae import weights
from brain_diffuser.workflow.job import job, progress


def guess(rows: slice) -> None:
    cfg = snakemake.params.cfg
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    latents = hdf5.load(snakemake.input.latents, rows)
    guesses = vdvae_stage.decode(
        latents,
        weights.load(snakemake.input.model, device=device, dtype=dtype),
        batch_size=snakemake.resources.batch_size,
        **cfg["stage1"],
    )
    made = progress(guesses, len(latents.nsd_id), "first guesses")
    shards.save_images(snakemake.output[0], made, latents.nsd_id)


with job(snakemake), devices.enough_memory("stage1"):
    shards.make(snakemake.wildcards.span, snakemake.input.latents, snakemake.output[0], guess)
