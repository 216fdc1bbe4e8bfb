"""Regions: all that is to be looked at, in one folder."""

import shutil
from pathlib import Path

import numpy as np

from brain_diffuser import arrays, contributions, regions, roi_figures, roi_sheets, scores
from brain_diffuser.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    masks = {name: mask for name, mask in regions.load(inputs.regions).items() if name in params.regions}
    of_feature = dict(zip(params.features, map(Path, inputs.contributions), strict=True))
    tables = {
        name: [
            {"feature": feature} | row
            for feature, folder in of_feature.items()
            for row in scores.read_rows(folder / f"{name}.csv")
        ]
        for name in ("decoding", "lesions")
    }
    norms = {feature: np.load(folder / "weight_norms.npy") for feature, folder in of_feature.items()}
    percentiles = {feature: contributions.percentiles(each) for feature, each in norms.items()}
    tables["weights"] = roi_figures.weight_rows(masks, percentiles)
    tables["seen"] = roi_sheets.shares(scores.read_rows(Path(inputs.seen) / "seen.csv"))
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, rows in tables.items():
            scores.write_rows(folder / f"{name}.csv", rows)
        for name in ("decoding", "lesions", "weights"):
            plot = getattr(roi_figures, f"plot_{name}")
            (folder / f"{name}.svg").write_text(plot(tables[name]), encoding="utf-8")
        roi_sheets.optimal(inputs.optimal, inputs.stage1, params.equalise).save(folder / "optimal.png")
        roi_sheets.perturbed(inputs.perturbed, inputs.stimuli).save(folder / "perturbed.png")
        shutil.copy(Path(inputs.seen) / "judge.csv", folder / "judge.csv")
        for path in (*Path(inputs.brain).glob("*"), *Path(inputs.volumes).glob("*.png")):
            shutil.copy(path, folder)
