"""Stage 4: first guesses of the test stimuli."""

from brain_diffuser import arrays, devices, pictures, stage1
from brain_diffuser.job import job, progress
from brain_diffuser.vdvae import weights

with job(snakemake), devices.enough_memory("stage1"):
    cfg = snakemake.params.cfg
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    latents = arrays.load(snakemake.input.latents)
    guesses = stage1.decode(
        latents,
        weights.load(snakemake.input.model, device=device, dtype=dtype),
        batch_size=snakemake.resources.batch_size,
        **cfg["stage1"],
    )
    pictures.write_folder(
        snakemake.output.pictures,
        snakemake.output.manifest,
        progress(guesses, len(latents.nsd_id), "first guesses"),
    )
