"""Stage 6: guided images beside unguided ones, as tables and as a sheet."""

from pathlib import Path

from brain_diffuser.artifacts import figures, hdf5, image_files
from brain_diffuser.artifacts.tables import read_csv, write_csv
from brain_diffuser.evaluation import guidance_effect, scores
from brain_diffuser.reporting import score_tables
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg["metrics"], snakemake.input, snakemake.params
    if not params.sets:
        raise ValueError("config.yaml: no variant has a section guidance and an unguided one beside it; add one")
    n_networks = len(inputs.perceptual_scores) // len(params.sets)
    found = {
        name: scores.read_per_image(inputs.perceptual_scores[place * n_networks : (place + 1) * n_networks])
        for place, name in enumerate(params.sets)
    }
    rows = guidance_effect.differences(found, params.against, n_resamples=cfg["bootstrap"], seed=cfg["control_seed"])
    repeated = {
        name: read_csv(Path(folder) / "consistency.csv")
        for name, folder in zip(cfg["repeated"], inputs.consistency, strict=True)
    }
    tables = {
        "differences": rows,
        "comparison": guidance_effect.pivot(rows),
        "grid": guidance_effect.grid(rows, params.grid),
        "consistency": guidance_effect.join_repeats(repeated),
    }
    made = [image_files.read_folder(*pair) for pair in zip(inputs.images, inputs.manifests, strict=True)]
    with hdf5.reading(inputs.stimuli) as (stimuli, nsd_id):
        for path, (ids, _) in zip(inputs.images, made, strict=True):
            hdf5.check_aligned(inputs.stimuli, nsd_id, path, ids)
        shown = range(min(params.n_stimuli, len(nsd_id)))
        sheet = [(stimuli[row], *(images[row] for _, images in made)) for row in shown]
    titles = ("stimulus", *map(score_tables.label, params.shown))
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, table in tables.items():
            if table:
                write_csv(folder / f"{name}.csv", tuple(table[0]), (row.values() for row in table))
        figures.contact_sheet(sheet, titles, groups=1).save(folder / "images.png")
