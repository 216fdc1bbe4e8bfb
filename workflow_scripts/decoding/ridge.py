"""What a kernel predicts for the test stimuli: one feature from betas, or betas from a feature."""

from brain_diffuser.decoding import ridge
from brain_diffuser.workflow.job import job

with job(snakemake):
    ridge.predict(
        ridge.load_kernel(snakemake.input.kernel),
        snakemake.input.train,
        snakemake.output.predicted,
        snakemake.output.get("reliability"),
        **snakemake.params.cfg,
        memory_gib=float(snakemake.resources.memory_gib),
        overwrite_kernel=True,
    )
