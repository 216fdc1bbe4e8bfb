"""Regions: the features of the image that each region answers to most."""

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import rois
from brain_diffuser.decoding import ridge
from brain_diffuser.regions import optimal_patterns
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg
    kernel, masks = ridge.load_kernel(inputs.kernel), rois.load(inputs.regions)
    released = cfg["roi.released_protocol"]
    if released:
        masks = optimal_patterns.released_masks(inputs.rois, {name: masks[name] for name in cfg["roi.optimal"]})
    names = [name for name in cfg["roi.optimal"] if name in masks]
    names, patterns = optimal_patterns.binary_patterns(masks, names, cfg["roi.lesions.seed"], controls=not released)
    with hdf5.reading(inputs.betas, by_columns=True) as train:
        rows = ridge.cross_kernel(kernel, hdf5.StimulusArray(*train), patterns, standardised=True)
    nsd_id = np.zeros(len(names), np.int32)
    with hdf5.atomic(snakemake.output[0]) as partial:
        options = {"alpha": snakemake.params.alpha, "memory_gib": float(snakemake.resources.memory_gib)}
        rescale = "none" if released else "train_oof"
        predicted = optimal_patterns.decode(kernel, rows, nsd_id, inputs.train, partial, rescale=rescale, **options)
        flat = predicted.reshape(len(predicted), -1).astype(np.float64)
        mean, std = optimal_patterns.column_statistics(inputs.train)
        if released:
            flat = optimal_patterns.as_released(flat, mean, std, snakemake.wildcards.feature)
        else:
            flat = optimal_patterns.training_like(flat, mean, std, cfg["roi.scale"])
        optimal_patterns.save(partial, flat.reshape(predicted.shape), names, nsd_id)
