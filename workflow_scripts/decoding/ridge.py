"""What a kernel predicts for the test stimuli: one feature from betas, or betas from a feature."""

from brain_diffuser.decoding import ridge
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg
    memory_gib, reliability = float(snakemake.resources.memory_gib), snakemake.output.get("reliability")
    ridge.check_memory(
        inputs.kernel,
        inputs.train,
        cfg["rescale"],
        reliability=reliability is not None,
        memory_gib=memory_gib,
        overwrite_kernel=True,
    )
    ridge.predict(
        ridge.load_kernel(inputs.kernel),
        inputs.train,
        snakemake.output.predicted,
        reliability,
        **cfg,
        memory_gib=memory_gib,
        overwrite_kernel=True,
    )
