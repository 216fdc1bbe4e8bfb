"""Rehearsal: VDVAE and Versatile Diffusion with random weights."""

from brain_diffuser.workflow.job import job
from demo import rehearsal

with job(snakemake):
    settings = snakemake.params.settings
    rehearsal.write_vdvae(snakemake.output.vdvae, settings["size"], settings["seed"])
    rehearsal.write_versatile_diffusion(snakemake.params.folder, settings["size"], settings["seed"])
