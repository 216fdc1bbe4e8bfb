"""Stage 6: guided pictures beside unguided ones, as tables and as a sheet."""

from pathlib import Path

from brain_diffuser import arrays, guidance_tables, pictures, score_tables, scores
from brain_diffuser.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg["metrics"], snakemake.input, snakemake.params
    if not params.sets:
        raise ValueError("config.yaml: no variant has a section guidance and an unguided one beside it; add one")
    n_judges = len(inputs.judged) // len(params.sets)
    found = {
        name: scores.read_per_image(inputs.judged[place * n_judges : (place + 1) * n_judges])
        for place, name in enumerate(params.sets)
    }
    rows = guidance_tables.differences(found, params.against, n_resamples=cfg["bootstrap"], seed=cfg["control_seed"])
    repeated = {
        name: scores.read_csv(Path(folder) / "consistency.csv")
        for name, folder in zip(cfg["repeated"], inputs.consistency, strict=True)
    }
    tables = {
        "differences": rows,
        "comparison": guidance_tables.wide(rows),
        "grid": guidance_tables.grid(rows, params.grid),
        "consistency": guidance_tables.beside(repeated),
    }
    made = [pictures.read_folder(*pair) for pair in zip(inputs.pictures, inputs.manifests, strict=True)]
    with arrays.reading(inputs.stimuli) as (stimuli, nsd_id):
        for path, (ids, _) in zip(inputs.pictures, made, strict=True):
            arrays.check_aligned(inputs.stimuli, nsd_id, path, ids)
        shown = range(min(params.n_stimuli, len(nsd_id)))
        sheet = [(stimuli[row], *(images[row] for _, images in made)) for row in shown]
    titles = ("stimulus", *map(score_tables.label, params.shown))
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, table in tables.items():
            if table:
                scores.write_csv(folder / f"{name}.csv", tuple(table[0]), (row.values() for row in table))
        pictures.contact_sheet(sheet, titles, groups=1).save(folder / "pictures.png")
