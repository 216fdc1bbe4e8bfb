"""Pixel metrics of all pairs of a stimulus and an image, or of drawn pairings."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import image_sets, pair_scores
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs = snakemake.params.cfg, snakemake.input
    nsd_id, stimuli, (images,) = image_sets.load_aligned(inputs.stimuli, [inputs.images], [inputs.manifest])
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        pair_scores.of_pixels(
            folder,
            snakemake.wildcards.scorer,
            nsd_id,
            stimuli,
            images,
            protocol=cfg["metrics.protocol"],
            pairings=cfg["significance.pairings"],
            seed=cfg["significance.seed"],
        )
