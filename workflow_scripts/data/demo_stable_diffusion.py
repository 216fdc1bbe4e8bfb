"""Demo: its Versatile Diffusion as a Stable Diffusion that reads text alone."""

from brain_diffuser.workflow.job import job
from demo import stable

with job(snakemake):
    stable.derive(snakemake.params.versatile_diffusion, snakemake.params.stable_diffusion)
