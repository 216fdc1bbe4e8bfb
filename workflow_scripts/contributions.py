"""Regions: what each contributes to a feature, alone and by its absence, and how much weight its voxels have."""

import json
from pathlib import Path

import numpy as np

from brain_diffuser import arrays, contributions, regions, scores
from brain_diffuser.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg["roi.contributions"]
    masks = regions.load(inputs.regions)
    masks = {name: masks[name] for name in cfg["regions"]}
    betas = arrays.load(inputs.betas_train), arrays.load(inputs.betas_test)
    for each, path in zip(betas, (inputs.train, inputs.test), strict=True):
        with arrays.reading(path) as (_, nsd_id):
            arrays.check_aligned("betas", each.nsd_id, path, nsd_id)
    with arrays.opening(inputs.kernel) as kernel:
        z_score = kernel["betas_mean"][...], kernel["betas_std"][...]
    features = tuple(contributions.read_columns(path, cfg["columns"]) for path in (inputs.train, inputs.test))
    ridges = contributions.Ridges.of(betas, features, z_score, snakemake.params.alpha)
    captions = {int(key): texts for key, texts in json.loads(Path(inputs.captions).read_text("utf-8")).items()}
    categories = contributions.categories(captions, cfg["categories"], *(each.nsd_id for each in betas))
    everything = {regions.ALL: np.ones(len(z_score[0]), bool)}
    tables = {
        "decoding": contributions.decoding(ridges, everything | masks, cfg["draws"], cfg["seed"]),
        "lesions": contributions.lesions(ridges, masks, categories, cfg["draws"], cfg["seed"]),
    }
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        np.save(folder / "weight_norms.npy", contributions.weight_norms(ridges))
        for name, rows in tables.items():
            scores.write_csv(folder / f"{name}.csv", contributions.COLUMNS[name], (row.values() for row in rows))
