"""The kernel of a subject's betas that serves every feature and alpha."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge
from brain_diffuser.workflow.job import job

with job(snakemake):
    opened = [hdf5.reading(path, by_columns=True) for path in (snakemake.input.train, snakemake.input.test)]
    with opened[0] as train, opened[1] as test:
        kernel = ridge.kernel(
            hdf5.StimulusArray(*train), hdf5.StimulusArray(*test), precision=snakemake.params.cfg["ridge.precision"]
        )
    ridge.save_kernel(snakemake.output[0], kernel)
