"""Learned: the features that a decoder predicts from the test betas."""

from brain_diffuser.decoding import network
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job

with job(snakemake):
    network.predict(
        network.load(snakemake.input.weights),
        snakemake.wildcards.subject,
        snakemake.input.betas,
        snakemake.output[0],
        rescale=snakemake.params.cfg["learned.rescale"],
        device=devices.choose(snakemake.resources.device, "float32")[0],
    )
