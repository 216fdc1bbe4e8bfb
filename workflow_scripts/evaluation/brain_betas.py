"""The betas that a folder of images predicts, by the kernel that predicts those of the stimuli."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs = snakemake.input
    kernel = ridge.load_kernel(inputs.kernel)
    with (
        hdf5.reading(inputs.train, by_columns=True) as train,
        hdf5.reading(inputs.images, by_columns=True) as (images, nsd_id),
    ):
        kernel = kernel._replace(test=ridge.cross_kernel(kernel, hdf5.StimulusArray(*train), images), test_id=nsd_id)
    ridge.predict(
        kernel,
        inputs.betas,
        snakemake.output[0],
        **snakemake.params.cfg,
        memory_gib=float(snakemake.resources.memory_gib),
        overwrite_kernel=True,
    )
