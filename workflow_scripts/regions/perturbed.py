"""Regions: the features that are decoded as a region's response to a stimulus is raised and lowered."""

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import rois
from brain_diffuser.decoding import ridge
from brain_diffuser.regions import optimal_patterns
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg["roi.perturb"]
    kernel, masks = ridge.load_kernel(inputs.kernel), rois.load(inputs.regions)
    with hdf5.reading(inputs.betas, by_columns=True) as train:
        patterns = np.stack([masks[region] for region in cfg["regions"]]).astype(np.float32)
        changes = ridge.cross_kernel(kernel, hdf5.StimulusArray(*train), patterns, standardised=True)
    names, rows, nsd_id = optimal_patterns.perturbed(kernel, cfg["regions"], changes, cfg["stimuli"], cfg["amounts"])
    with hdf5.atomic(snakemake.output[0]) as partial:
        options = {"alpha": snakemake.params.alpha, "memory_gib": float(snakemake.resources.memory_gib)}
        rescale = snakemake.params.rescale
        predicted = optimal_patterns.decode(kernel, rows, nsd_id, inputs.train, partial, rescale=rescale, **options)
        optimal_patterns.save(partial, predicted, names, nsd_id)
