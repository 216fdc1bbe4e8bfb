"""Stage 3: the kernel of a subject's betas that serves every feature and alpha."""

from brain_diffuser import arrays, ridge
from brain_diffuser.job import job

with job(snakemake):
    betas = (arrays.load(path) for path in (snakemake.input.train, snakemake.input.test))
    ridge.save_kernel(snakemake.output[0], ridge.kernel(*betas, precision=snakemake.params.cfg["ridge.precision"]))
