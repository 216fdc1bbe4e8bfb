"""Images of the features of patterns, by both stages, several times each with other noise."""

from brain_diffuser.models import devices
from brain_diffuser.regions import pattern_images
from brain_diffuser.workflow.job import job, progress

with job(snakemake), devices.enough_memory("recon"):
    cfg, inputs, params, outputs = snakemake.params.cfg, snakemake.input, snakemake.params, snakemake.output
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    pattern_images.write(
        (outputs.stage1, outputs.stage1_manifest),
        (outputs.images, outputs.manifest),
        {key: inputs[key] for key in ("vdvae", "text", "vision")},
        {"vdvae": inputs.model, "clip": params.clip, "diffusion": params.diffusion},
        n_images=params.n_images,
        is_numbered=params.numbered,
        settings=cfg,
        batch_size=snakemake.resources.batch_size,
        device=device,
        dtype=dtype,
        progress=progress,
    )
