"""The features that are decoded as a region's response to a stimulus is raised and lowered."""

from brain_diffuser.data import rois
from brain_diffuser.decoding import ridge
from brain_diffuser.regions import optimal_patterns
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg["roi.perturb"]
    optimal_patterns.perturbed_features(
        snakemake.output[0],
        ridge.load_kernel(inputs.kernel),
        inputs.betas,
        inputs.train,
        rois.load(inputs.regions),
        names=cfg["regions"],
        n_stimuli=cfg["stimuli"],
        amounts=cfg["amounts"],
        alpha=snakemake.params.alpha,
        memory_gib=float(snakemake.resources.memory_gib),
        rescale=snakemake.params.rescale,
    )
