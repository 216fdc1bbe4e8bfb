"""Regions: optimal pictures of the subjects' average, and the tables of all subjects with their standard errors."""

from pathlib import Path

from brain_diffuser import arrays, roi_figures, scores
from brain_diffuser.job import job

KEYS = {"decoding": ("feature", "region"), "lesions": ("feature", "category", "region"), "weights": ("region",)}

with job(snakemake):
    inputs = snakemake.input
    tables = {
        name: roi_figures.average_rows(
            [scores.read_csv(Path(folder) / f"{name}.csv") for folder in inputs.subjects], keys
        )
        for name, keys in KEYS.items()
    }
    optimal, stage1 = ((inputs[each], inputs[f"{each}_manifest"]) for each in ("optimal", "stage1"))
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, rows in tables.items():
            scores.write_csv(folder / f"{name}.csv", tuple(rows[0]) if rows else KEYS[name], (r.values() for r in rows))
        (folder / "weights.svg").write_text(roi_figures.plot_weights(tables["weights"]), encoding="utf-8")
        roi_figures.optimal_sheet(optimal, stage1, snakemake.params.equalise).save(folder / "optimal.png")
