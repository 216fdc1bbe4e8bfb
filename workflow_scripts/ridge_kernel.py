"""Stage 3: the kernel of a subject's betas that serves every feature and alpha."""

from brain_diffuser import arrays, ridge
from brain_diffuser.job import job

with job(snakemake):
    opened = [arrays.reading(path, by_columns=True) for path in (snakemake.input.train, snakemake.input.test)]
    with opened[0] as train, opened[1] as test:
        kernel = ridge.kernel(
            arrays.Rows(*train), arrays.Rows(*test), precision=snakemake.params.cfg["ridge.precision"]
        )
    ridge.save_kernel(snakemake.output[0], kernel)
