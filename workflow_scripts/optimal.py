"""Regions: the features of the picture that each region answers to most."""

import numpy as np

from brain_diffuser import arrays, regions, ridge, roi
from brain_diffuser.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg
    kernel, masks = ridge.load_kernel(inputs.kernel), regions.load(inputs.regions)
    released = cfg["roi.parity"] == "released"
    if released:
        masks = roi.released_masks(inputs.rois, {name: masks[name] for name in cfg["roi.optimal"]})
    names = [name for name in cfg["roi.optimal"] if name in masks]
    names, patterns = roi.binary_patterns(masks, names, cfg["roi.contributions.seed"], controls=not released)
    with arrays.reading(inputs.betas, by_columns=True) as train:
        rows = ridge.rows(kernel, arrays.Rows(*train), patterns, standardised=True)
    nsd_id = np.zeros(len(names), np.int32)
    with arrays.atomic(snakemake.output[0]) as partial:
        options = {"alpha": snakemake.params.alpha, "memory_gib": float(snakemake.resources.memory_gib)}
        rescale = "none" if released else "train_oof"
        predicted = roi.decode(kernel, rows, nsd_id, inputs.train, partial, rescale=rescale, **options)
        flat = predicted.reshape(len(predicted), -1).astype(np.float64)
        mean, std = roi.column_statistics(inputs.train)
        if released:
            flat = roi.as_released(flat, mean, std, snakemake.wildcards.feature)
        else:
            flat = roi.training_like(flat, mean, std, cfg["roi.gain"])
        roi.save(partial, flat.reshape(predicted.shape), names, nsd_id)
