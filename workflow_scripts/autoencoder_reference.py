"""Stage 6: the test stimuli through the autoencoder and back."""

from brain_diffuser import arrays, devices, pictures, recon
from brain_diffuser.diffusion import weights
from brain_diffuser.job import job, progress

with job(snakemake), devices.enough_memory("recon"):
    cfg = snakemake.params.cfg
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    models = weights.load(snakemake.params.diffusion, device, dtype)
    with arrays.reading(snakemake.input.stimuli) as (stimuli, nsd_id):
        returned = recon.autoencode(
            stimuli[:], models, nsd_id=nsd_id, seed=cfg["recon.seed"], batch_size=snakemake.resources.batch_size
        )
        pictures.write_folder(
            snakemake.output.pictures, snakemake.output.manifest, progress(returned, len(nsd_id), "pictures")
        )
