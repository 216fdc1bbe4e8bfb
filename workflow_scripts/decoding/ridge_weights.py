"""The weights of chosen voxels and features, for who wants to look at them; no other stage does."""

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import rois
from brain_diffuser.decoding import ridge
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg["roi.weights"]
    betas = hdf5.load(inputs.betas)
    ridge.save_weights(
        snakemake.output[0],
        ridge.load_kernel(inputs.kernel),
        betas,
        inputs.train,
        alpha=snakemake.params.alpha,
        voxels=rois.load(inputs.regions)[cfg["region"]],
        columns=None if cfg["columns"] == "all" else np.array(cfg["columns"]),
    )
