"""CLIP-vision embeddings of a folder of images, computed as those of the stimuli."""

from brain_diffuser.artifacts import image_files
from brain_diffuser.features import extract, registry
from brain_diffuser.models import devices
from brain_diffuser.models.diffusion import descriptions
from brain_diffuser.workflow.job import job, progress

with job(snakemake), devices.enough_memory("features"):
    cfg, params = snakemake.params.cfg, snakemake.params
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    nsd_id, images = image_files.read_folder(snakemake.input.images, snakemake.input.manifest)
    extract.store(
        "clip_vision",
        registry.FEATURES["clip_vision"].load(params.model, device=device, dtype=dtype),
        images,
        nsd_id,
        snakemake.output[0],
        batch_size=snakemake.resources.batch_size,
        storage=cfg["features.storage"],
        device=device,
        dtype=dtype,
        progress=progress,
        image_size=descriptions.image_size(params.diffusion),
        **cfg.get("features.clip_vision", {}),
    )
