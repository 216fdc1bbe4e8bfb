"""Decoding and encoding accuracy and the voxels' noise ceilings, as tables and plots."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import averages, rois
from brain_diffuser.evaluation import decoding_accuracy
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs = snakemake.input
    decoding = {
        feature: decoding_accuracy.column_correlations(predicted, true)
        for feature, predicted, true in zip(snakemake.params.features, inputs.predicted, inputs.true, strict=True)
    }
    encoding = decoding_accuracy.column_correlations(inputs.predicted_betas, inputs.betas)
    ceiling, repeats = averages.ceiling_of_test(inputs.rois, inputs.trials)
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        decoding_accuracy.write(folder, decoding, encoding, ceiling, rois.load(inputs.regions), repeats)
