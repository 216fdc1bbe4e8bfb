"""Encoding accuracy, noise ceilings and regions as volumes in the subject's own space, and drawings of them."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import averages, rois
from brain_diffuser.evaluation import decoding_accuracy
from brain_diffuser.regions import brain_maps
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs = snakemake.input
    encoding = decoding_accuracy.column_correlations(inputs.predicted_betas, inputs.betas)
    ceiling, repeats = averages.ceiling_of_test(inputs.rois, inputs.trials)
    grid, masks = brain_maps.read_grid(inputs.rois), rois.load(inputs.regions)
    title = f"{snakemake.wildcards.subject} ({snakemake.params.dataset_label})"
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        brain_maps.write(folder, grid, encoding, ceiling, masks, title=title, repeats=repeats)
