"""Regions: features of patterns -> images, by both stages, each several times with other noise."""

import numpy as np

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.generation import img2img, registry, vdvae_stage
from brain_diffuser.models import devices
from brain_diffuser.models.vdvae import weights
from brain_diffuser.regions import optimal_patterns
from brain_diffuser.workflow.job import job, progress

with job(snakemake), devices.enough_memory("recon"):
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    names, latents = optimal_patterns.load(inputs.vdvae)
    rows = np.repeat(np.arange(len(names)), params.n_images)
    number = np.tile(np.arange(params.n_images), len(names))
    nsd_id = (latents.nsd_id[rows] + number).astype(np.int32)
    text, vision = (optimal_patterns.load(path)[1].values for path in (inputs.text, inputs.vision))
    vdvae = weights.load(inputs.model, device=device, dtype=dtype)
    batch_size = snakemake.resources.batch_size
    chosen = hdf5.StimulusArray(latents.values[rows], nsd_id)
    guesses = np.stack(
        [guess for _, guess in vdvae_stage.decode(chosen, vdvae, batch_size=batch_size, **cfg["stage1"])]
    )
    del vdvae
    backbone = registry.BACKBONES["versatile_diffusion"]
    models, unconditional = backbone.load(params.diffusion, params.clip, device, dtype)
    reconstructions = img2img.reconstruct(
        guesses, text[rows], vision[rows], unconditional, models, nsd_id=nsd_id, batch_size=batch_size, **cfg["recon"]
    )
    image_files.write_folder(
        snakemake.output.images,
        snakemake.output.manifest,
        progress(reconstructions, len(rows), "images"),
        [f"{names[row]}{f'_{each}' if params.numbered else ''}.png" for row, each in zip(rows, number, strict=True)],
    )
    image_files.write_folder(
        snakemake.output.stage1,
        snakemake.output.stage1_manifest,
        zip(nsd_id[:: params.n_images].tolist(), guesses[:: params.n_images], strict=True),
        [f"{name}.png" for name in names],
    )
