"""Brain correlation of sets of images, region by region, as a table and a plot."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import rois
from brain_diffuser.evaluation import brain_correlation
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg
    masks = rois.load(inputs.regions)
    with hdf5.opening(inputs.kernel) as kernel:
        mean, std = kernel["betas_mean"][...], kernel["betas_std"][...]
    options = {"n_resamples": cfg["metrics.bootstrap"], "seed": cfg["metrics.control_seed"]}
    rows_of_sets = {
        images: brain_correlation.compare(predicted, inputs.betas, masks, mean, std, **options)
        for images, predicted in zip(snakemake.params.sets, inputs.predicted, strict=True)
    }
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        brain_correlation.write(folder, rows_of_sets)
