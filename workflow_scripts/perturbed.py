"""Regions: the features that are decoded as a region's response to a stimulus is raised and lowered."""

import numpy as np

from brain_diffuser import arrays, regions, ridge, roi
from brain_diffuser.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg["roi.perturb"]
    kernel, masks = ridge.load_kernel(inputs.kernel), regions.load(inputs.regions)
    with arrays.reading(inputs.betas, by_columns=True) as train:
        patterns = np.stack([masks[region] for region in cfg["regions"]]).astype(np.float32)
        changes = ridge.rows(kernel, arrays.Rows(*train), patterns, standardised=True)
    names, rows, nsd_id = roi.perturbed(kernel, cfg["regions"], changes, cfg["stimuli"], cfg["amounts"])
    with arrays.atomic(snakemake.output[0]) as partial:
        options = {"alpha": snakemake.params.alpha, "memory_gib": float(snakemake.resources.memory_gib)}
        rescale = snakemake.params.rescale
        predicted = roi.decode(kernel, rows, nsd_id, inputs.train, partial, rescale=rescale, **options)
        roi.save(partial, predicted, names, nsd_id)
