"""A subject's kernel with the rows of a test set: its training stimuli stay as they are, and nothing is fitted."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs = snakemake.input
    kernel, test = ridge.load_kernel(inputs.kernel), hdf5.load(inputs.test)
    with hdf5.reading(inputs.train, by_columns=True) as train:
        rows = ridge.cross_kernel(kernel, hdf5.StimulusArray(*train), test.values)
    ridge.save_kernel(snakemake.output[0], kernel._replace(test=rows, test_id=test.nsd_id))
