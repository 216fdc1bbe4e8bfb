"""Stage 6: decoding and encoding accuracy and the voxels' noise ceilings, as tables and plots."""

import csv

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import averages, rois
from brain_diffuser.evaluation import decoding_accuracy
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, features = snakemake.input, snakemake.params.features
    decoding = {
        feature: decoding_accuracy.column_correlations(predicted, true)
        for feature, predicted, true in zip(features, inputs.predicted, inputs.true, strict=True)
    }
    encoding = decoding_accuracy.column_correlations(inputs.predicted_betas, inputs.betas)
    ceiling, repeats = averages.ceiling_of_test(inputs.rois, inputs.trials)
    by_feature = [(name, len(each), *decoding_accuracy.quartiles(each)) for name, each in decoding.items()]
    by_region = []
    for region, voxels in rois.load(inputs.regions).items():
        allowed = round(float(np.median(np.sqrt(ceiling[voxels]))), 4)
        by_region.append((region, int(voxels.sum()), *decoding_accuracy.quartiles(encoding[voxels]), allowed))
    spread = ("quartile_1", "median", "quartile_3")
    columns = ("region", "voxels", *spread, "ceiling")
    plots = {
        "decoding": decoding_accuracy.plot_decoding(decoding),
        "encoding": decoding_accuracy.plot_regions([dict(zip(columns, row, strict=True)) for row in by_region]),
        "noise_ceiling": decoding_accuracy.plot_ceiling(ceiling, repeats),
    }
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, header, rows in (
            ("decoding", ("feature", "columns", *spread), by_feature),
            ("encoding", columns, by_region),
        ):
            with open(folder / f"{name}.csv", "w", newline="") as stream:
                csv.writer(stream, lineterminator="\n").writerows((header, *rows))
        for name, plot in plots.items():
            (folder / f"{name}.svg").write_text(plot, encoding="utf-8")
