"""Regions: all that is to be looked at, in one folder."""

import shutil
from pathlib import Path

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.artifacts.tables import read_csv, write_csv
from brain_diffuser.data import rois
from brain_diffuser.regions import figures, lesions
from brain_diffuser.workflow.job import job

FOLDERS = ("optimal", "stage1", "perturbed")
PLOTS = {
    "decoding": figures.plot_decoding,
    "lesions": figures.plot_lesions,
    "weights": figures.plot_weights,
}

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    masks = {name: mask for name, mask in rois.load(inputs.regions).items() if name in params.regions}
    of_feature = dict(zip(params.features, map(Path, inputs.lesions), strict=True))
    tables = {
        name: [
            {"feature": feature} | row
            for feature, folder in of_feature.items()
            for row in read_csv(folder / f"{name}.csv")
        ]
        for name in ("decoding", "lesions")
    }
    norms = {feature: np.load(folder / "weight_norms.npy") for feature, folder in of_feature.items()}
    percentiles = {feature: lesions.percentiles(each) for feature, each in norms.items()}
    tables["weights"] = figures.weight_rows(masks, percentiles)
    tables["seen"] = figures.mean_probabilities(read_csv(Path(inputs.category_probe) / "category_probe.csv"))
    headers = {name: tuple(rows[0]) if rows else ("feature", *lesions.COLUMNS[name]) for name, rows in tables.items()}
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, rows in tables.items():
            write_csv(folder / f"{name}.csv", headers[name], (row.values() for row in rows))
        for name, plot in PLOTS.items():
            (folder / f"{name}.svg").write_text(plot(tables[name]), encoding="utf-8")
        optimal, stage1, perturbed = ((inputs[each], inputs[f"{each}_manifest"]) for each in FOLDERS)
        figures.optimal_sheet(optimal, stage1, params.equalize_histogram).save(folder / "optimal.png")
        figures.perturbed_sheet(perturbed, inputs.stimuli).save(folder / "perturbed.png")
        shutil.copy(Path(inputs.category_probe) / "category_probe_accuracy.csv", folder / "category_probe_accuracy.csv")
        for path in (*Path(inputs.brain).glob("*"), *Path(inputs.volumes).glob("*.png")):
            shutil.copy(path, folder)
