"""Stage 3, learned: the features that a decoder predicts from the test betas."""

from brain_diffuser import devices, learned
from brain_diffuser.job import job

with job(snakemake):
    learned.predict(
        learned.load(snakemake.input.weights),
        snakemake.wildcards.subject,
        snakemake.input.betas,
        snakemake.output[0],
        rescale=snakemake.params.cfg["learned.rescale"],
        device=devices.choose(snakemake.resources.device, "float32")[0],
    )
