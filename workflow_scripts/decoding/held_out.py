"""Haxby et al. 2001: one feature of every block, predicted from the other runs, with true or permuted labels."""

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import custom_files
from brain_diffuser.workflow.job import job
from demo import haxby_runs

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    blocks = haxby_runs.labelled(haxby_runs.together(*inputs.betas), custom_files.read_ids(inputs.stim_files))
    order = np.arange(len(blocks.run))
    if snakemake.wildcards.labels == "permuted":
        order = haxby_runs.shuffled(blocks.run, np.random.default_rng([params.cfg["haxby.seed"], 0]))
    features = haxby_runs.together(*inputs.features)
    predicted = haxby_runs.held_out(blocks, features, order, alpha=params.alpha, rescale=params.cfg["ridge.rescale"])
    hdf5.save(snakemake.output[0], predicted, features.nsd_id)
