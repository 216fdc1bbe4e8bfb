"""Stage 5: reconstructions of a shard of the test stimuli."""

from brain_diffuser.artifacts import shards
from brain_diffuser.generation import backbones, img2img
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job, progress


def reconstruct(rows: slice) -> None:
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    decoded = img2img.load(inputs.text, inputs.vision, inputs.stage1, inputs.manifest, rows)
    models, unconditional = backbones.load(params.backbone, params.diffusion, params.clip, device, dtype)
    made = img2img.reconstruct(
        decoded.guesses,
        decoded.text,
        decoded.vision,
        unconditional,
        models,
        nsd_id=decoded.nsd_id,
        batch_size=snakemake.resources.batch_size,
        **cfg["recon"],
    )
    made = progress(made, len(decoded.nsd_id), "reconstructions")
    shards.save_images(snakemake.output[0], made, decoded.nsd_id)


with job(snakemake), devices.enough_memory("recon"):
    shards.make(snakemake.wildcards.span, snakemake.input.text, snakemake.output[0], reconstruct)
