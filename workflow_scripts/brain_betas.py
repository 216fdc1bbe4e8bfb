"""Stage 6: the betas that a folder of pictures predicts, by the kernel that predicts those of the stimuli."""

from brain_diffuser import arrays, ridge
from brain_diffuser.job import job

with job(snakemake):
    inputs = snakemake.input
    kernel = ridge.load_kernel(inputs.kernel)
    opened = [arrays.reading(path, by_columns=True) for path in (inputs.train, inputs.pictures)]
    with opened[0] as train, opened[1] as (pictures, nsd_id):
        kernel = kernel._replace(test=ridge.rows(kernel, arrays.Rows(*train), pictures), test_id=nsd_id)
    ridge.predict(
        kernel,
        inputs.betas,
        snakemake.output[0],
        **snakemake.params.cfg,
        memory_gib=float(snakemake.resources.memory_gib),
        overwrite_kernel=True,
    )
