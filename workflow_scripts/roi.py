"""Regions: all that is to be looked at, in one folder."""

import shutil
from pathlib import Path

import numpy as np

from brain_diffuser import arrays, contributions, regions, roi_figures, scores
from brain_diffuser.job import job

FOLDERS = ("optimal", "stage1", "perturbed")
PLOTS = {
    "decoding": roi_figures.plot_decoding,
    "lesions": roi_figures.plot_lesions,
    "weights": roi_figures.plot_weights,
}

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    masks = {name: mask for name, mask in regions.load(inputs.regions).items() if name in params.regions}
    of_feature = dict(zip(params.features, map(Path, inputs.contributions), strict=True))
    tables = {
        name: [
            {"feature": feature} | row
            for feature, folder in of_feature.items()
            for row in scores.read_csv(folder / f"{name}.csv")
        ]
        for name in ("decoding", "lesions")
    }
    norms = {feature: np.load(folder / "weight_norms.npy") for feature, folder in of_feature.items()}
    percentiles = {feature: contributions.percentiles(each) for feature, each in norms.items()}
    tables["weights"] = roi_figures.weight_rows(masks, percentiles)
    tables["seen"] = roi_figures.mean_probabilities(scores.read_csv(Path(inputs.seen) / "seen.csv"))
    headers = {
        name: tuple(rows[0]) if rows else ("feature", *contributions.COLUMNS[name]) for name, rows in tables.items()
    }
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, rows in tables.items():
            scores.write_csv(folder / f"{name}.csv", headers[name], (row.values() for row in rows))
        for name, plot in PLOTS.items():
            (folder / f"{name}.svg").write_text(plot(tables[name]), encoding="utf-8")
        optimal, stage1, perturbed = ((inputs[each], inputs[f"{each}_manifest"]) for each in FOLDERS)
        roi_figures.optimal_sheet(optimal, stage1, params.equalise).save(folder / "optimal.png")
        roi_figures.perturbed_sheet(perturbed, inputs.stimuli).save(folder / "perturbed.png")
        shutil.copy(Path(inputs.seen) / "judge.csv", folder / "judge.csv")
        for path in (*Path(inputs.brain).glob("*"), *Path(inputs.volumes).glob("*.png")):
            shutil.copy(path, folder)
