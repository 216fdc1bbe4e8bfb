"""Regions: optimal images of the subjects' average, and the tables of all subjects with their standard errors."""

from pathlib import Path

from brain_diffuser.artifacts import hdf5
from brain_diffuser.artifacts.tables import read_csv, write_csv
from brain_diffuser.regions import figures
from brain_diffuser.workflow.job import job

KEYS = {"decoding": ("feature", "region"), "lesions": ("feature", "category", "region"), "weights": ("region",)}

with job(snakemake):
    inputs = snakemake.input
    tables = {
        name: figures.average_rows([read_csv(Path(folder) / f"{name}.csv") for folder in inputs.subjects], keys)
        for name, keys in KEYS.items()
    }
    optimal, stage1 = ((inputs[each], inputs[f"{each}_manifest"]) for each in ("optimal", "stage1"))
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, rows in tables.items():
            write_csv(folder / f"{name}.csv", tuple(rows[0]) if rows else KEYS[name], (r.values() for r in rows))
        (folder / "weights.svg").write_text(figures.plot_weights(tables["weights"]), encoding="utf-8")
        figures.optimal_sheet(optimal, stage1, snakemake.params.equalize_histogram).save(folder / "optimal.png")
