"""Haxby et al. 2001: one feature of every block, predicted from the other runs, with true or permuted labels."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import custom
from brain_diffuser.workflow.job import job
from demo import haxby_runs

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    blocks = haxby_runs.with_labels(haxby_runs.concatenate(*inputs.betas), custom.read_ids(inputs.stim_files))
    order = haxby_runs.order_of(snakemake.wildcards.labels, blocks.run, params.cfg["haxby.seed"])
    features = haxby_runs.concatenate(*inputs.features)
    predicted = haxby_runs.held_out(blocks, features, order, alpha=params.alpha, rescale=params.cfg["ridge.rescale"])
    hdf5.save(snakemake.output[0], predicted, features.nsd_id)
