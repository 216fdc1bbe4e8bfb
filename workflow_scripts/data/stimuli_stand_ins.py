"""A grey image for each test stimulus, for pages of a dataset whose stimuli are not to be shown."""

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.workflow.job import job

SIDE, GREY = 64, 127

with job(snakemake):
    with hdf5.reading(snakemake.input[0]) as (_, nsd_id):
        images = np.full((len(nsd_id), SIDE, SIDE, 3), GREY, np.uint8)
        hdf5.save(snakemake.output[0], images, nsd_id, axes=("height", "width", "rgb"), flatten=False)
