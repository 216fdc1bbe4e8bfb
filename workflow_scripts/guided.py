"""Stage 5: reconstructions of the test stimuli, guided by CLIP's taps."""

import numpy as np

from brain_diffuser import arrays, backbones, clip, devices, guidance, pictures, recon, ridge
from brain_diffuser.job import job, progress

with job(snakemake), devices.enough_memory("recon"):
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    vision = arrays.load_aligned(inputs.text, inputs.vision)[1].values if inputs.vision else None
    text, taps = arrays.load_aligned(inputs.text, inputs.taps)
    nsd_id, guesses = text.nsd_id, None
    if inputs.stage1:  # a variant may start from noise
        nsd_id, guesses = pictures.read_folder(inputs.stage1, inputs.manifest)
        arrays.check_aligned(inputs.stage1, nsd_id, inputs.text, text.nsd_id)
    models, unconditional = backbones.load(params.backbone, params.diffusion, params.clip, device, dtype)
    denoiser, codec = models
    tower = clip.ClipTaps.load(params.tower, device, dtype)
    blocks, options = cfg["features.clip_taps"]["blocks"], dict(cfg["guidance"])
    targets, factors, kind = (options.pop(key) for key in ("targets", "layer_weights", "reliability"))
    reliability = (*ridge.load_reliability(inputs.reliability), kind) if inputs.reliability else None
    wanted = np.roll(taps.values, 1, 0) if targets == "shuffled" else taps.values
    steer = guidance.Guide(
        guidance.wanted(wanted, tower.shape(blocks), factors, reliability),
        lambda latents: tower.see(codec.paint(latents), blocks),
        mid_block=denoiser.unet.mid_block,
        **options,
    )
    reconstructions = recon.reconstruct(
        guesses,
        text.values,
        vision,
        unconditional,
        models,
        nsd_id=nsd_id,
        batch_size=snakemake.resources.batch_size,
        steer=steer,
        **cfg["recon"],
    )
    pictures.write_folder(
        snakemake.output.pictures, snakemake.output.manifest, progress(reconstructions, len(nsd_id), "reconstructions")
    )
