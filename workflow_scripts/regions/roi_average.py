"""The section on regions of the subjects' average: optimal images, and tables with standard errors."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.regions import summary
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs = snakemake.input
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        summary.write_average(
            folder,
            inputs.subjects,
            (inputs.optimal, inputs.optimal_manifest),
            (inputs.stage1, inputs.stage1_manifest),
            snakemake.params.equalize_histogram,
        )
