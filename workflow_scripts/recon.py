"""Stage 5: reconstructions of the test stimuli."""

from brain_diffuser import arrays, backbones, devices, pictures, recon
from brain_diffuser.job import job, progress

with job(snakemake), devices.enough_memory("recon"):
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    text = arrays.load(inputs.text)
    vision = arrays.load_aligned(inputs.text, inputs.vision)[1].values if inputs.vision else None
    nsd_id, guesses = text.nsd_id, None
    if inputs.stage1:  # a variant may start from noise
        nsd_id, guesses = pictures.read_folder(inputs.stage1, inputs.manifest)
        arrays.check_aligned(inputs.stage1, nsd_id, inputs.text, text.nsd_id)
    models, unconditional = backbones.load(params.backbone, params.diffusion, params.clip, device, dtype)
    reconstructions = recon.reconstruct(
        guesses,
        text.values,
        vision,
        unconditional,
        models,
        nsd_id=nsd_id,
        batch_size=snakemake.resources.batch_size,
        **cfg["recon"],
    )
    pictures.write_folder(
        snakemake.output.pictures, snakemake.output.manifest, progress(reconstructions, len(nsd_id), "reconstructions")
    )
