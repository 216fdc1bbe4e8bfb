"""Stage 6: a shard of the test stimuli through the autoencoder and back."""

from brain_diffuser.artifacts import hdf5, shards
from brain_diffuser.generation import img2img
from brain_diffuser.models import devices
from brain_diffuser.models.diffusion import weights
from brain_diffuser.workflow.job import job, progress


def autoencode(rows: slice) -> None:
    cfg = snakemake.params.cfg
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    models = weights.load(snakemake.params.diffusion, device, dtype)
    with hdf5.reading(snakemake.input.stimuli) as (stimuli, nsd_id):
        images, nsd_id = stimuli[rows], nsd_id[rows]
    batch_size, seed = snakemake.resources.batch_size, cfg["recon.seed"]
    returned = img2img.autoencode(images, models, nsd_id=nsd_id, seed=seed, batch_size=batch_size)
    shards.save_images(snakemake.output[0], progress(returned, len(nsd_id), "images"), nsd_id)


with job(snakemake), devices.enough_memory("recon"):
    shards.make(snakemake.wildcards.span, snakemake.input.stimuli, snakemake.output[0], autoencode)
