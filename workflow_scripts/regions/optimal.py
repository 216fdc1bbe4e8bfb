"""The features of the image that each region responds to most."""

from brain_diffuser.data import rois
from brain_diffuser.decoding import ridge
from brain_diffuser.regions import optimal_patterns
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg
    optimal_patterns.optimal_features(
        snakemake.output[0],
        ridge.load_kernel(inputs.kernel),
        inputs.betas,
        inputs.train,
        rois.load(inputs.regions),
        names=cfg["roi.optimal"],
        labels=inputs.rois,
        feature=snakemake.wildcards.feature,
        is_released=cfg["roi.released_protocol"],
        scale=cfg["roi.scale"],
        seed=cfg["roi.lesions.seed"],
        alpha=snakemake.params.alpha,
        memory_gib=float(snakemake.resources.memory_gib),
    )
