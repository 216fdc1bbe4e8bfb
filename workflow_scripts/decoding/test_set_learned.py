"""The features that a subject's learned decoder predicts from the betas of a test set."""

from brain_diffuser.decoding import network
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    network.predict(
        network.load(inputs.weights),
        params.subject,
        inputs.betas,
        snakemake.output[0],
        rescale=params.cfg["learned.rescale"],
        device=devices.choose(snakemake.resources.device, "float32")[0],
    )
