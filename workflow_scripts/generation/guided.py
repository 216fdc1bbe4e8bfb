"""Stage 5: reconstructions of a shard of the test stimuli, guided by CLIP's taps."""

import numpy as np

from brain_diffuser.artifacts import hdf5, shards
from brain_diffuser.decoding import ridge
from brain_diffuser.generation import backbones, guidance, img2img
from brain_diffuser.models import clip, devices
from brain_diffuser.workflow.job import job, progress


def reconstruct(rows: slice) -> None:
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    decoded = img2img.load(inputs.text, inputs.vision, inputs.stage1, inputs.manifest, rows)
    blocks, options = cfg["features.clip_layers"]["blocks"], dict(cfg["guidance"])
    targets, factors, kind = (options.pop(key) for key in ("targets", "layer_weights", "reliability"))
    if targets == "shuffled":
        activations = np.roll(hdf5.load_aligned(inputs.text, inputs.activations)[1].values, 1, 0)[rows]
    else:
        activations = hdf5.load_aligned(inputs.text, inputs.activations, rows)[1].values
    models, unconditional = backbones.load(params.backbone, params.diffusion, params.clip, device, dtype)
    denoiser, autoencoder = models
    tower = clip.ClipLayers.load(params.tower, device, dtype)
    reliability = (*ridge.load_reliability(inputs.reliability), kind) if inputs.reliability else None
    guidance_fn = guidance.Guide(
        guidance.make_targets(activations, tower.shape(blocks), factors, reliability),
        lambda latents: tower.forward(autoencoder.decode_to_float(latents), blocks),
        mid_block=denoiser.unet.mid_block,
        **options,
    )
    made = img2img.reconstruct(
        decoded.guesses,
        decoded.text,
        decoded.vision,
        unconditional,
        models,
        nsd_id=decoded.nsd_id,
        batch_size=snakemake.resources.batch_size,
        guidance_fn=guidance_fn,
        **cfg["recon"],
    )
    made = progress(made, len(decoded.nsd_id), "reconstructions")
    shards.save_images(snakemake.output[0], made, decoded.nsd_id)


with job(snakemake), devices.enough_memory("recon"):
    shards.make(snakemake.wildcards.span, snakemake.input.text, snakemake.output[0], reconstruct)
